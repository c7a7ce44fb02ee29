"""`manage.py demo` as a newcomer runs it: its own PostgreSQL, its own accounts, a first server, a clean end."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from tests.stack import free_port, wait_for


class Demo:
    """One folder for the demo's state, and the demo started in it as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.ready = folder / "ready.json"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **environment: str) -> dict[str, Any]:
        self.ready.unlink(missing_ok=True)
        self.process = self.launch(self.log, *arguments, **environment)
        wait_for(lambda: self.ready.exists() or self.process.poll() is not None, seconds=90, what="the demo")
        assert self.ready.exists(), self.log.read_text()
        return json.loads(self.ready.read_text())

    def environment(self) -> dict[str, str]:
        gone = {"DATABASE_URL", "LEFT4ME_SECRET_KEY", "SSH_CONNECTION"}
        kept = {name: value for name, value in os.environ.items() if name not in gone}
        return kept | {"LEFT4ME_VAR": str(self.folder), "PYTHONUNBUFFERED": "1"}

    @property
    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "demo", "--port", str(self.port), "--json", str(self.ready)]

    def launch(self, log: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.command, *arguments],
                cwd=settings.BASE_DIR,
                env=self.environment() | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def end(self, number: int = signal.SIGINT) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(60)


def games(folder: Path) -> dict[str, int]:
    """The supervising process of each game server below `folder` that is alive."""
    found = {}
    for path in folder.glob("lib/runtime/*/state.json"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper := json.loads(path.read_text())["keeper"], 0)
            found[path.parent.name] = keeper
    return found


@pytest.fixture
def demo() -> Iterator[Demo]:
    folder = Path(tempfile.mkdtemp(prefix="left4me-demo-"))
    folder.chmod(0o755)
    made = Demo(folder)
    yield made
    if made.process and made.process.poll() is None:
        made.end()
    for keeper in games(folder).values():
        os.kill(keeper, signal.SIGKILL)
    subprocess.run(["rm", "-rf", str(folder)], check=False)


def practice(ready: dict[str, Any], who: str = "member") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {ready['users'][who]['token']}"}
    answer = httpx.get(f"{ready['url']}/api/v1/servers/practice", headers=headers)
    answer.raise_for_status()
    return answer.json()


def test_it_shows_a_running_server_ends_cleanly_and_finds_it_again(demo: Demo):
    ready = demo.start()
    assert practice(ready)["unit"] == "running"
    running = games(demo.folder)
    assert "practice" in running

    other = demo.launch(demo.folder / "second.log")
    assert other.wait(30) != 0
    told = (demo.folder / "second.log").read_text()
    assert f"already runs (process {demo.process.pid}, {ready['url']})" in told

    assert demo.end() == 0
    assert "Traceback" not in demo.log.read_text()
    assert games(demo.folder) == running, "the game went on without the portal"

    again = demo.start()
    assert again["users"] == ready["users"]
    wait_for(lambda: practice(again)["query"].get("ok"), what="the same game answering")
    assert games(demo.folder) == running, "found again, not started anew"


def test_after_a_kill_it_starts_again_and_nothing_is_lost(demo: Demo):
    ready = demo.start()
    console = practice(ready)["console"]
    demo.end(signal.SIGKILL)

    again = demo.start()

    headers = {"Authorization": f"Bearer {again['users']['member']['token']}"}
    lines = httpx.get(f"{again['url']}/api/v1/streams/{console}/lines?limit=1000", headers=headers).json()["lines"]
    assert [seq for seq, _, _ in lines] == list(range(1, len(lines) + 1))
    assert practice(again)["unit"] == "running"


def number_in(postmaster: Path) -> int:
    """The process that the lock file of a PostgreSQL names; 0 while there is none."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int(postmaster.read_text().split("\n", 1)[0])
    return 0


def last_line(ready: dict[str, Any], console: str) -> int:
    """The number of the newest line in `console`; 0 where the portal cannot tell at the moment."""
    headers = {"Authorization": f"Bearer {ready['users']['member']['token']}"}
    answer = httpx.get(f"{ready['url']}/api/v1/streams/{console}/lines?limit=1000", headers=headers, timeout=20)
    return answer.json()["next"] if answer.status_code == 200 else 0


def test_a_database_that_was_killed_is_started_again_under_the_running_portal(demo: Demo):
    ready = demo.start()
    console = practice(ready)["console"]
    postmaster = demo.folder / "postgres" / "data" / "postmaster.pid"
    killed = number_in(postmaster)
    os.kill(killed, signal.SIGKILL)

    wait_for(lambda: number_in(postmaster) not in (0, killed), seconds=60, what="a new PostgreSQL")
    wait_for(lambda: last_line(ready, console), seconds=60, what="the portal with it")
    before = last_line(ready, console)
    wait_for(lambda: last_line(ready, console) > before, seconds=60, what="new lines of the game in its console")
    assert demo.end() == 0
    text = demo.log.read_text()
    assert "PostgreSQL ended with status -9" in text
    assert "still running, and found again at the next start: practice" in text


def test_a_taken_port_is_told_with_the_way_out(demo: Demo, tmp_path: Path):
    with socket.create_server(("127.0.0.1", demo.port)):
        process = demo.launch(demo.log)
        assert process.wait(60) == 1
    assert f"Port {demo.port} cannot be used" in demo.log.read_text()
    assert f"--port {demo.port + 1}" in demo.log.read_text()


def test_a_json_file_that_cannot_be_written_is_told_before_anything_starts(demo: Demo) -> None:
    folder = demo.ready.with_name("folder")
    folder.mkdir()
    problems = {
        demo.folder / "nowhere" / "ready.json": "Make",
        folder: "is a folder",
        Path("/proc/x"): "cannot be written",
    }
    for path, told in problems.items():
        demo.ready = path
        assert demo.launch(demo.log).wait(60) == 1
        assert told in demo.log.read_text().splitlines()[-1]
    assert "starting PostgreSQL" not in demo.log.read_text()


def test_the_json_file_is_read_by_nobody_else_and_goes_when_the_demo_is_started_again(demo: Demo) -> None:
    demo.start()
    assert demo.ready.stat().st_mode & 0o777 == 0o600
    assert demo.end() == 0
    with socket.create_server(("127.0.0.1", demo.port)):
        assert demo.launch(demo.log).wait(60) == 1
    assert not demo.ready.exists(), "nobody takes it for that of a demo which did not start"


@pytest.mark.parametrize("seconds", [0.2, 1, 2, 3, 4, 5])
def test_ctrl_c_ends_it_in_order_however_early(demo: Demo, seconds: float) -> None:
    process = demo.launch(demo.log)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells all that run in its foreground
    assert process.wait(60) in (0, 130)
    assert "Traceback" not in demo.log.read_text()
    assert "Error" not in demo.log.read_text()


@pytest.mark.parametrize("name", ['a "quoted" $HOME', os.fsdecode(b"f\xe9e")])
def test_a_path_that_postgresql_cannot_be_started_from_is_told(demo: Demo, name: str) -> None:
    demo.folder = demo.folder / name
    demo.folder.mkdir()
    assert demo.launch(demo.log).wait(60) == 1
    assert "Rename that folder" in demo.log.read_text()
    assert "Traceback" not in demo.log.read_text()
