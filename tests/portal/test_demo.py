"""`manage.py demo` as a newcomer runs it: its own PostgreSQL, its own accounts, a first server, a clean end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
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
    assert "already runs" in (demo.folder / "second.log").read_text()

    assert demo.end() == 0
    assert "Traceback" not in demo.log.read_text()
    assert games(demo.folder) == running, "the game went on without the portal"

    again = demo.start()
    assert again["users"] == ready["users"]
    wait_for(lambda: practice(again)["query"]["ok"], what="the same game answering")
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


def test_a_taken_port_is_told_with_the_way_out(demo: Demo, tmp_path: Path):
    import socket

    with socket.create_server(("127.0.0.1", demo.port)):
        process = demo.launch(demo.log)
        assert process.wait(60) == 1
    assert f"Port {demo.port} cannot be used" in demo.log.read_text()
    assert f"--port {demo.port + 1}" in demo.log.read_text()


def test_a_folder_for_the_json_file_that_is_not_there_is_told_before_anything_starts(demo: Demo) -> None:
    demo.ready = demo.folder / "nowhere" / "ready.json"
    process = demo.launch(demo.log)
    assert process.wait(60) == 1
    assert f"Make {demo.folder}/nowhere first" in demo.log.read_text()
