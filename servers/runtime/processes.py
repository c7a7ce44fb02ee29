"""Processes by /proc, for runtimes without a cgroup for each server: what those below others use, and signals to one.

Source: proc(5), /proc/PID/stat.
"""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from servers.runtime.base import Usage
from servers.runtime.keeper.identity import start_ticks

_TICK, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_PARENT, _TIMES, _RESIDENT = 1, slice(11, 15), 21  # fields after the name; times are own and of children that ended


def usage_below(tops: Mapping[str, int]) -> dict[str, Usage]:
    """By name, what all descendants of that process use together. Memory that several share counts for each of them;
    the processor time of one that ended counts while its parent lives and has waited for it."""
    parents, used = _read()
    names = {pid: name for name, pid in tops.items()}
    cpu, memory = dict.fromkeys(tops, 0.0), dict.fromkeys(tops, 0)
    for pid, (seconds, resident) in used.items():
        if name := _top_of(parents.get(pid, 0), parents, names):
            cpu[name] += seconds
            memory[name] += resident
    return {name: Usage(cpu_seconds=cpu[name], memory=memory[name]) for name in tops if memory[name]}


def _top_of(pid: int, parents: Mapping[int, int], names: Mapping[int, str]) -> str | None:
    for _ in range(len(parents)):
        if pid in names or pid not in parents:
            break
        pid = parents[pid]
    return names.get(pid)


def _read() -> tuple[dict[int, int], dict[int, tuple[float, int]]]:
    parents, used = {}, {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        pid = int(entry.name)
        parents[pid] = int(fields[_PARENT])
        used[pid] = (sum(map(int, fields[_TIMES])) / _TICK, int(fields[_RESIDENT]) * _PAGE)
    return parents, used


def signal_exactly(pid: int, ticks: int, number: int) -> None:
    """Signal exactly that process: the descriptor holds on to it while its start time is compared."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_ticks(pid) == ticks:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
