"""A layer's script, run shut off from everything: its folder, its bounds, and what its end means. Both runtimes use it.

STATE_DIR/builds/NAME holds `layer` and `tmp`, all that the script can write, its text and `order.json`, which
deploy/libexec/build reads. That program, in the sandbox, watches what both folders hold; here the clock is watched and
the room that is left on the disk, whatever a script may do to hide what it wrote.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from django.conf import settings

from jobs import process
from servers.runtime.base import RuntimeFailure

# Each has a function `run` that takes what `built` takes and returns the code that the sandbox's first process ended
# with. When it returns or raises, nothing of the script runs.
_RUNTIMES = {"local": "servers.runtime.script_local", "systemd": "servers.runtime.script_systemd"}
LAUNCHER = settings.BASE_DIR / "deploy" / "libexec" / "build"
MOST_FILES = 200_000
KEPT_FREE = 1 << 30  # bytes of the disk that are the servers'
CLEAR_SECONDS = 600
LEFT_OVER = 24 * 3600  # seconds, many times what a build may take


@dataclass(frozen=True, kw_only=True)
class Script:
    """`name`: digits, one build at a time has it. `text`: for bash. `network`: whether it may use the machine's."""

    name: str
    text: str
    network: bool = False

    @property
    def folder(self) -> Path:
        return _builds() / self.name


def _builds() -> Path:
    return Path(settings.STATE_DIR) / "builds"


@contextmanager
def built(script: Script, *, on_line: Callable[[str], None], check: Callable[[], None]) -> Iterator[Path]:
    """Run the script to its end and give the folder with what it left there, which nobody writes to any more.

    What is in there is hostile: names, links, devices. `on_line`: is given each line of output as it comes. `check`:
    called ten times a second; what it raises ends the script. Raises `RuntimeFailure` with what went wrong; whatever
    happens, nothing of the script runs and nothing of it is left afterwards.
    """
    run = import_module(_RUNTIMES[settings.RUNTIME]).run
    _prepare(script)
    try:
        try:
            code = run(script, on_line=on_line, check=_watch(script, check))
        finally:
            _call("chmod", "-R", "u+rwX", script.folder)  # where it is not ours, its owner has opened it to us
        if code:
            raise RuntimeFailure(_endings().get(code, f"The script ended with code {code}. The lines above say why."))
        yield script.folder / "layer"
    finally:
        clear(script.folder)


def _prepare(script: Script) -> None:
    """What a build that was cut off has left goes first, on a real host by its owner in the sandbox."""
    clear(script.folder)
    try:
        for name in ("layer", "tmp"):
            (script.folder / name).mkdir(parents=True, exist_ok=True)
            # Without the bit that hands the group down: a script may not set it, so not keep it either.
            (script.folder / name).chmod(0o770)
        (script.folder / "script").write_text(script.text)
        order = {"most_bytes": settings.SCRIPT_DISK, "most_files": MOST_FILES}
        (script.folder / "order.json").write_text(json.dumps(order))
    except OSError as error:
        raise RuntimeFailure(f"The script's folder could not be made: {error.strerror}. Ask an admin.") from error


def _watch(script: Script, check: Callable[[], None]) -> Callable[[], None]:
    limit = time.monotonic() + settings.SCRIPT_SECONDS

    def watch() -> None:
        check()
        if time.monotonic() > limit:
            raise RuntimeFailure(
                f"The script did not finish within {settings.SCRIPT_SECONDS / 60:g} minutes and was ended. "
                "Make it do less."
            )
        require_room(script.folder)

    return watch


def require_room(folder: Path) -> None:
    """Raise `RuntimeFailure` when a build leaves the servers too little of the disk."""
    if shutil.disk_usage(folder).free < KEPT_FREE:
        raise RuntimeFailure(f"Less than {KEPT_FREE >> 20} MB of the disk were left. Make room, then build again.")


def left_over() -> list[Path]:
    """Folders of builds whose worker was killed, and which nobody tried again."""
    found, limit = [], time.time() - LEFT_OVER
    for path in _builds().glob("*"):
        with suppress(FileNotFoundError):  # a build that has just ended
            found += [path] if path.lstat().st_mtime < limit else []
    return found


def clear(folder: Path) -> None:
    """Delete a build's folder, as far as it is ours."""
    _call("rm", "-rf", "--one-file-system", folder)


def _call(*argv: str | Path) -> None:
    """A program, since these go to any depth of folders."""
    process.run(argv, timeout=CLEAR_SECONDS)


def _endings() -> dict[int, str]:
    """Of deploy/libexec/build, and 230 of servers/runtime/keeper/script.py."""
    return {
        230: "This machine does not let us shut a script off from everything else, so it was not run: the line above "
        "says what was refused. Ask an admin to allow user namespaces.",
        231: "Nobody took the script's output any more, so it was ended. Build again.",
        232: f"The script wrote more than {settings.SCRIPT_DISK >> 20} MB and was ended. Make it write less.",
        233: f"The script made more than {MOST_FILES} files and was ended. Make it write fewer.",
        234: "The script made folders that cannot be looked into and was ended. Make fewer within each other.",
    }
