"""Versions, disk and clock of this machine."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version

from django.conf import settings

from jobs import process
from servers.doctor.check import Check, State, verdict

LEAST_FREE, SCARCE = 200 << 20, 5 << 30  # bytes: below the first nothing starts (servers/tasks.py)
LEAST_KERNEL = (5, 6)  # openat2(2)
LEAST_SYSTEMD = 252
SECONDS = 20


def output(*argv: str) -> str:
    """What a program prints; its exit status does not matter here."""
    lines: list[str] = []
    process.run(argv, timeout=SECONDS, on_line=lines.append)
    return "\n".join(lines)


def examine() -> Iterator[Check]:
    yield _versions()
    yield _disk()
    yield _clock()


def _versions() -> Check:
    kernel = platform.release()
    wrong = []
    if tuple(int(part) for part in re.findall(r"\d+", kernel)[:2]) < LEAST_KERNEL:
        wrong.append(f"Linux {kernel} is older than 5.6, which the portal needs to open files safely.")
    found = [f"Python {platform.python_version()}", f"Django {version('Django')}", f"Linux {kernel}"]
    if settings.RUNTIME == "systemd":
        systemd = int(output("systemctl", "--version").split()[1])
        found.append(f"systemd {systemd}")
        if systemd < LEAST_SYSTEMD:
            wrong.append(f"systemd {systemd} is older than {LEAST_SYSTEMD}, whose sandbox the units rest on.")
    return verdict("versions", wrong, f"{', '.join(found)}, in {sys.prefix}")


def _disk() -> Check:
    place = settings.STATE_DIR if settings.STATE_DIR.exists() else settings.STATE_DIR.anchor
    usage, files = shutil.disk_usage(place), os.statvfs(place)
    found = f"{usage.free >> 20} MiB of {usage.total >> 20} MiB are free in {settings.STATE_DIR}"
    if usage.free < LEAST_FREE or (files.f_files and files.f_favail < 1000):
        return Check("disk", State.FAIL, f"{found}: no server can start. Make room.")
    return Check("disk", State.WARN if usage.free < SCARCE else State.OK, f"{found}.")


def _clock() -> Check:
    if not shutil.which("timedatectl"):
        return Check("clock", State.WARN, "timedatectl is not there to ask whether the clock is kept in time.")
    if output("timedatectl", "show", "-p", "NTPSynchronized", "--value").strip() == "yes":
        return Check("clock", State.OK, "kept in time by NTP.")
    return Check("clock", State.WARN, "not kept in time by NTP: times in logs may be wrong. Install systemd-timesyncd.")
