"""Telling one process from a later one with the same number: by its start time and the machine's boot."""

import os
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """This boot of the machine (proc(5), /proc/sys/kernel/random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; `None` when it is gone or a zombie (proc(5), stat)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def own_pid() -> int:
    """This process's number on the machine, also from inside a process namespace: /proc is the machine's."""
    return int(os.readlink("/proc/self"))


def machine_pid(pidfd: int) -> int:
    """The number on the machine of the process behind a pidfd."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pid:"))
