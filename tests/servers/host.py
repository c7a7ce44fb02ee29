"""A machine for the runtime's tests: real keepers and tiny real games in a state folder of the test's own."""

import contextlib
import hashlib
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from servers.runtime.base import ServerSpec, UnitState
from servers.runtime.local import LocalRuntime
from tests.stack import wait_for

# Prints what it is and answers the stop signal, as a well-behaved game does.
GAME = """#!/bin/sh
echo ready
trap 'echo bye; exit 0' INT
while :; do sleep 0.05; done
"""


class Host:
    """`runtime` with its folders below `root`; ends every game it was used to start."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runtime = LocalRuntime()
        self.names: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in self.names:
            with contextlib.suppress(Exception):
                self.runtime.stop(name, timeout=0)

    def layer(self, name: str, **files: str) -> Path:
        """A folder with executable, read-only files; `__` in a name stands for a slash and `_sh` for .sh."""
        folder = self.root / "layers" / name
        for key, text in files.items():
            path = folder / key.replace("__", "/").replace("_sh", ".sh")
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(text)
                path.chmod(0o555)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def spec(self, script: str = GAME, name: str = "one", **more: Any) -> ServerSpec:
        """A server whose installation is one script."""
        self.names.add(name)
        values: dict[str, Any] = {
            "layers": (self.layer(f"installation-{hashlib.sha256(script.encode()).hexdigest()[:8]}", game_sh=script),),
            "argv": ("./game.sh",),
            "stop_after": 1,
            "kill_after": 1,
        }
        return ServerSpec(name=name, **values | more)

    def state(self, name: str = "one") -> UnitState:
        return self.runtime.states([name])[name]

    def folder(self, name: str = "one") -> Path:
        return self.runtime.tree(name).parent

    def lines(self, name: str = "one") -> list[str]:
        """Everything on the console."""
        lines: list[str] = []
        cursor = ""
        while True:
            new, cursor = self.runtime.read_console(name, cursor)
            lines += new
            if not new:
                return lines

    def wait_unit(self, unit: str, name: str = "one") -> UnitState:
        wait_for(lambda: self.state(name).unit == unit, seconds=30, what=f"{name} being {unit}")
        return self.state(name)

    def wait_line(self, line: str, name: str = "one") -> None:
        wait_for(lambda: line in self.lines(name), seconds=30, what=f"the line {line}")


def digest(folder: Path) -> str:
    """Of every name, mode, link and byte below `folder`."""
    seen = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        seen.update(repr((path.relative_to(folder), info.st_mode, info.st_mtime_ns, content)).encode())
    return seen.hexdigest()


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def keeper_of(host: Host, name: str = "one") -> int:
    keeper = host.runtime._keeper(name)
    assert keeper
    return keeper[0]


def kill_keeper(host: Host, name: str = "one") -> None:
    os.kill(keeper_of(host, name), signal.SIGKILL)
