"""Real installations of games for tests, downloaded once and kept between runs in a cache folder.

`from tests.games_cache import installed` gives any test module the session fixture: `installed("openarena") -> Path`.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from django.conf import settings

from jobs import process
from jobs.registry import JobError
from servers import games, installers

CACHE = Path(os.environ.get("LEFT4ME_TEST_CACHE") or Path.home() / ".cache" / "left4me-tests")


class PrintingRun:
    """What an installer needs of a job's run handle, without a job: programs really run, lines go to standard error."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)
        print(text, file=sys.stderr)

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
    """The folder of a game's installation; do not write into it. The definition's text is part of its name."""

    def install(slug: str) -> Path:
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
        if target.exists():  # another run was faster, or the same version is there
            shutil.rmtree(partial)
        else:
            partial.rename(target)
        return target

    return install
