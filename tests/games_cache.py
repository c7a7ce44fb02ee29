"""Real installations of games for tests, downloaded once and kept between runs in a cache folder.

`from tests.games_cache import installed` gives any test module the session fixture: `installed("openarena") -> Path`.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from jobs import process
from jobs.registry import JobError
from servers import games, installers, rcon
from tests.stack import game_port

CACHE = Path(os.environ.get("LEFT4ME_TEST_CACHE") or Path.home() / ".cache" / "left4me-tests")
SECRET = "0123456789abcdef"


class PrintingRun:
    """What an installer needs of a job's run handle, without a job: programs really run, lines are kept and printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)
        print(text)

    def progress(self, percent: float) -> None:
        assert 0 <= percent <= 100

    def check(self) -> None:
        """Never cancelled."""

    def call(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ok: Sequence[int] = (0,),
    ) -> int:
        code = process.run(argv, timeout=timeout, env=env, cwd=cwd, on_line=self.log).code
        if code not in ok:
            raise JobError(f"{argv[0]} ended with code {code}.")
        return code


@pytest.fixture(scope="session")
def installed() -> Callable[[str], Path]:
    """`installed(slug)`: the folder of a game's installation. Do not write into it."""
    return _installed


def _installed(slug: str) -> Path:
    game = games.get(slug)
    place = CACHE / "installations" / slug
    ready = [path for path in place.glob("*") if not path.name.startswith(".")]
    if game.install.method != "builtin" and ready:
        return max(ready, key=lambda path: path.stat().st_mtime)
    partial = place / f".partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    state, settings.STATE_DIR = settings.STATE_DIR, CACHE
    try:
        version = installers.install(game, into=partial, run=PrintingRun())  # type: ignore[arg-type]
    finally:
        settings.STATE_DIR = state
    target = place / version
    try:
        partial.rename(target)
    except OSError:  # another run was faster, or this version was there
        shutil.rmtree(partial)
    return target


@dataclass
class RunningGame:
    """A game started as its definition says, by itself: no runtime, no portal."""

    game: games.Game
    ports: dict[str, int]
    process: subprocess.Popen[bytes]
    log: Path
    host: str = "127.0.0.1"

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")


def send(running: RunningGame, text: str, secret: str = SECRET) -> str:
    """What the console of the game answers. Raises `RconError`."""
    return asyncio.run(rcon.command(running.game, running.host, running.ports, secret, text))


@contextlib.contextmanager
def running(slug: str, **settings_: Any) -> Iterator[RunningGame]:
    """Start the game of that slug with these settings; it is stopped by its own signal, and must then end well."""
    game = games.get(slug)
    ports = {port.name: game_port() for port in game.ports}
    place = CACHE / "running"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        tree = Path(folder, "tree")
        subprocess.run(["cp", "-al", _installed(slug), tree], check=True)
        rendered = game.render(
            settings=settings_, secrets=dict.fromkeys(game.secrets, SECRET), ports=ports, name="test",
            merged=str(tree), address="127.0.0.1",
        )  # fmt: skip
        for path, content in rendered.files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        log = Path(folder, "console.log")
        with log.open("wb") as output:
            started = subprocess.Popen(
                rendered.argv, cwd=tree / rendered.workdir, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={"PATH": "/usr/bin:/bin", "HOME": folder, **rendered.environment},
            )  # fmt: skip
        try:
            yield RunningGame(game, ports, started, log)
            started.send_signal(rendered.stop.signal)
            started.wait(rendered.stop.stop_after + 10)
        finally:
            started.kill()
            started.wait()
            print(log.read_text(errors="replace")[-4000:])
