"""The demo ends in order when nobody can be told anything any more: its terminal has gone."""

import os
import pty
import shlex
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from tests.portal.test_demo import Demo, demo, games  # noqa: F401  (a fixture)
from tests.stack import wait_for


def left(folder: Path) -> list[str]:
    """Command lines of processes of the demo in `folder`, its games left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (path / "environ").read_bytes()
        except OSError:
            continue
        if f"LEFT4ME_VAR={folder}".encode() in environment and "servers.runtime.keeper" not in line:
            found.append(line)
    return found


@pytest.mark.parametrize("how", ["the terminal is closed", "the terminal is closed under make", "the pipe is closed"])
def test_it_stops_in_order_when(how: str, demo: Demo) -> None:  # noqa: F811
    errors = demo.folder / "errors"
    ours, theirs = pty.openpty() if "terminal" in how else os.pipe()
    command = demo.command
    if "make" in how:
        (demo.folder / "Makefile").write_text(f"demo:\n\t@{shlex.join(demo.command)}\n")
        command = ["make", "-f", str(demo.folder / "Makefile"), "demo"]
    with errors.open("wb") as file:
        demo.process = subprocess.Popen(
            # setsid -c makes it the controlling terminal, whose end the kernel tells the leader alone by SIGHUP.
            [*(["setsid", "-c"] if "terminal" in how else []), *command],
            cwd=settings.BASE_DIR, env=demo.environment(), stdin=theirs if "terminal" in how else None,
            stdout=theirs, stderr=file, start_new_session="terminal" not in how,
        )  # fmt: skip
    os.close(theirs)
    wait_for(demo.ready.exists, seconds=90, what="the demo")
    wait_for(lambda: "practice" in games(demo.folder), seconds=60, what="the first server")
    os.close(ours)
    if "pipe" in how:  # which is noticed at the next line: that of a child that ended
        os.kill(next(int(path.name) for path in Path("/proc").glob("[0-9]*") if is_agent(path, demo.folder)), 9)

    status = demo.process.wait(60)
    assert status == 0 or "make" in how, errors.read_text()
    assert "Traceback" not in errors.read_text()
    assert not (demo.folder / "postgres" / "data" / "postmaster.pid").exists(), "PostgreSQL was stopped, not cut off"
    assert "practice" in games(demo.folder), "the game goes on"
    assert left(demo.folder) == []


def is_agent(process: Path, folder: Path) -> bool:
    try:
        line, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
    except OSError:
        return False
    return b"manage.py\0agent" in line and f"LEFT4ME_VAR={folder}".encode() in environment
