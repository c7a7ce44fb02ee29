"""The local runtime: each game under a keeper of its own, no root and no systemd; for development and demonstrations.

A server is its folder STATE_DIR/runtime/NAME. Who holds its lock may start it; the keeper inherits the lock, so it is
held as long as the game runs, whoever else comes or goes. `state.json` there is the keeper's word on it.
"""

import fcntl
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from jobs.process import spawn_detached
from servers.runtime import console, files, linktree, measuring, upper
from servers.runtime.base import SETTLE_SECONDS, Runtime, RuntimeFailure, ServerSpec, Undo, UnitState, Usage
from servers.runtime.inotify import FolderWakes
from servers.runtime.keeper import state as state_file
from servers.runtime.keeper.identity import boot_id, start_ticks
from servers.runtime.processes import signal_exactly, usage_below
from servers.runtime.wakes import Wakes

KEEPER = Path(__file__).parent / "keeper"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"
START_SECONDS = 20  # for the keeper to answer, besides the time it lets the game settle
STOP_MARGIN_SECONDS = 5
KILL_SECONDS = 10
POLL_SECONDS = 0.01

logger = logging.getLogger(__name__)


class LocalRuntime(Runtime):
    """Keepers below `settings.STATE_DIR`; `settings.LOCAL_MOUNT` says how layers are merged: auto, overlay or copy."""

    def __init__(self) -> None:
        self._root = settings.STATE_DIR / "runtime"
        self._mount = settings.LOCAL_MOUNT

    def tree(self, name: str) -> Path:
        return self._folder(name) / "merged"

    def prepare(self, spec: ServerSpec) -> None:
        with self._lock(spec.name) as lock:
            if lock is not None:
                self._prepare(spec)

    def start(self, spec: ServerSpec) -> None:
        limit = time.monotonic() + START_SECONDS
        while True:
            with self._lock(spec.name) as lock:
                if lock is not None:
                    self._prepare(spec)
                    self._launch(spec, lock)
                    return
            if self._state(spec.name).unit in ("running", "restarting"):
                return
            if time.monotonic() > limit:
                raise RuntimeFailure(f"“{spec.name}” is being started or stopped. Wait a moment and try again.")
            time.sleep(POLL_SECONDS)

    def stop(self, name: str, *, timeout: float | None = None) -> None:
        seconds = timeout if timeout is not None else self._read(name).get("stop_seconds", 0) + STOP_MARGIN_SECONDS
        polite, hard = time.monotonic() + seconds, time.monotonic() + seconds + KILL_SECONDS
        asked = None
        while True:
            with self._lock(name) as lock:
                if lock is not None:
                    self._settle_stopped(name)
                    return
            keeper = self._keeper(name)
            if keeper is not None and time.monotonic() > polite:
                signal_exactly(*keeper, signal.SIGKILL)
            elif keeper is not None and keeper != asked:
                signal_exactly(*keeper, signal.SIGTERM)
                asked = keeper
            if time.monotonic() > hard:
                raise RuntimeFailure(f"“{name}” did not end, not even when it was killed. Ask an admin.")
            time.sleep(POLL_SECONDS)

    def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        return {name: self._state(name) for name in names}

    def usage(self, names: Iterable[str]) -> dict[str, Usage]:
        return usage_below({name: keeper[0] for name in names if (keeper := self._keeper(name))})

    def wakes(self) -> Wakes:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FolderWakes(self._root)

    def read_console(self, name: str, cursor: str, limit: int = 1000) -> tuple[list[str], str]:
        return console.read(self._folder(name) / "console", cursor, limit)

    def measure(self, name: str, *, enough: int | None = None) -> measuring.Measure:
        folders = measuring.own_folders(self._folder(name))
        if self.writes_elsewhere(name):  # what is linked into the tree changed before the list of it was written
            folders.append((self.tree(name), (self._folder(name) / linktree.MANIFEST).stat().st_mtime))
        return measuring.Measure(folders, enough=enough)

    def writes_elsewhere(self, name: str) -> bool:
        return linktree.is_built(self._folder(name))

    def undo(self, name: str, wanted: Sequence[Undo]) -> dict[str, str] | None:
        with self._lock(name) as lock:
            if lock is None:
                return None
            linktree.collect(self._folder(name))
            return upper.undo(self._folder(name), wanted)

    def remove(self, name: str, token: str) -> None:
        with self._lock(name) as lock:
            if lock is None:
                raise RuntimeFailure(f"“{name}” still runs. Stop it first.")
            files.put_aside(self._root, name, token)

    def discard(self, name: str) -> None:
        self.remove(name, files.DISCARDED)
        files.delete_aside(self._root, name, files.DISCARDED)

    def restore(self, name: str, token: str) -> None:
        files.bring_back(self._root, name, token)

    def forget(self, name: str, token: str) -> None:
        files.delete_aside(self._root, name, token)

    def purge(self, older_than: timedelta) -> int:
        return files.purge(self._root, older_than)

    def _folder(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name:
            raise ValueError("not a server's name")
        return Path(self._root, name)

    @contextmanager
    def _lock(self, name: str) -> Iterator[int | None]:
        """The server's lock as a descriptor, or `None` when it is held: by its keeper, or for a moment by another."""
        self._folder(name)
        locks = self._root / ".locks"
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)  # config files hold the servers' secrets
        locks.mkdir(exist_ok=True)
        lock = os.open(locks / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            # A killed keeper's lock is free a moment before the kernel has ended its namespace.
            limit = time.monotonic() + KILL_SECONDS
            while self._keeper(name) and time.monotonic() < limit:
                time.sleep(POLL_SECONDS)
            yield lock
        finally:
            os.close(lock)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = json.loads((self._folder(name) / state_file.STATE_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return values

    def _keeper(self, name: str) -> tuple[int, int] | None:
        """The living keeper's process number and start time."""
        values = self._read(name)
        return (values["keeper"], values["ticks"]) if _lives(values) else None

    def _state(self, name: str) -> UnitState:
        values = self._read(name)
        if not values:
            return UnitState(unit="stopped")
        unit, detail, pid = values["unit"], values["detail"], values.get("pid")
        if unit not in ("stopped", "crashed") and not _lives(values):
            pid = None
            if values["boot"] == boot_id():
                unit, detail = "crashed", "The process that watched over the game was killed, and the game with it."
            else:
                unit, detail = "stopped", "The machine was restarted while the server ran."
        return UnitState(
            unit=unit,
            detail=detail,
            since=datetime.fromtimestamp(values["since"], UTC),
            pid=pid,
            exit_code=values.get("exit_code"),
            exit_signal=values.get("exit_signal"),
            restarts=values["restarts"],
        )

    def _settle_stopped(self, name: str) -> None:
        """With the lock held: nothing runs, so say so whatever the last keeper came to."""
        folder = self._folder(name)
        if values := self._read(name):
            linktree.collect(folder)
            if values["unit"] != "stopped":
                changed = {"unit": "stopped", "detail": "", "since": time.time(), "pid": None}
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                state_file.replace(descriptor, values | changed)
                os.close(descriptor)

    def _prepare(self, spec: ServerSpec) -> None:
        folder = self._folder(spec.name)
        for layer in spec.layers:
            if not layer.is_dir():
                raise RuntimeFailure(f"The files in {layer} are gone. Install the game again.")
        try:
            files.require_room(self._root)
            files.make_folders(folder)
            linktree.collect(folder)
        except OSError as error:
            raise RuntimeFailure(f"The server's folders could not be made: {error.strerror}. Ask an admin.") from error
        files.write_config(folder, spec.files)

    def _launch(self, spec: ServerSpec, lock: int) -> None:
        remarks = []
        if self._mount != "copy":
            reply = self._run_keeper(spec, lock, mode="overlay")
            if not (self._mount == "auto" and reply.get("refused")):
                _expect_ok(reply)
                return
            remarks = [f"This machine does not let us mount a server's layers: {reply['error']}."]
        remarks.append(
            "Its files are linked and copied into one tree, and it is not shut off from other servers' files."
        )
        logger.warning("%s: %s", spec.name, " ".join(remarks))
        try:
            linktree.build(self._folder(spec.name), spec.layers)
        except OSError as error:
            raise RuntimeFailure(f"The server's files could not be put together: {error.strerror}.") from error
        _expect_ok(self._run_keeper(spec, lock, mode="copy", remarks=remarks))

    def _run_keeper(self, spec: ServerSpec, lock: int, *, mode: str, remarks: Iterable[str] = ()) -> dict[str, Any]:
        folder = self._folder(spec.name)
        base = {"PATH": PATH, "HOME": str(folder / "merged"), "LANG": "C.UTF-8", "TERM": "dumb"}
        order = {
            "mode": mode,
            "folder": str(folder),
            "layers": [str(layer) for layer in (*spec.layers, folder / "config")],
            "hide": _private_folders(),
            "remarks": list(remarks),
            "argv": spec.argv,
            "environment": base | dict(spec.environment),
            "workdir": spec.workdir,
            "stop_signal": int(spec.stop_signal),
            "stop_after": spec.stop_after,
            "kill_after": spec.kill_after,
            "restart": asdict(spec.restart),
            "limits": asdict(spec.limits),
            "settle": SETTLE_SECONDS,
        }
        reply = _ask_keeper(order, lock)
        if reply is None:
            if keeper := self._keeper(spec.name):
                signal_exactly(*keeper, signal.SIGKILL)
            raise RuntimeFailure(f"“{spec.name}” did not start in time and was ended. Try again.")
        return reply


def _private_folders() -> list[str]:
    """What no game may see: the portal's secrets, all servers' files and the database's socket."""
    host = str(settings.DATABASES["default"]["HOST"])
    return [str(settings.VAR_DIR), str(settings.STATE_DIR), *([host] if host.startswith("/") else [])]


def _ask_keeper(order: dict[str, Any], lock: int) -> dict[str, Any] | None:
    """Start a keeper and wait for what it has to say about the start; `None` when that does not come in time."""
    answer, reply = os.pipe()
    paper = os.memfd_create("order")
    with os.fdopen(answer, "rb") as file:
        try:
            os.write(paper, json.dumps(order).encode())
            os.lseek(paper, 0, os.SEEK_SET)
            argv = [sys.executable, "-I", "-S", str(KEEPER), *map(str, (lock, reply, paper))]
            spawn_detached(argv, cwd="/", pass_fds=(lock, reply, paper))
        finally:
            os.close(reply)
            os.close(paper)
        if not select.select([file], [], [], START_SECONDS + order["settle"])[0]:
            return None
        data = file.read()
    message: dict[str, Any] = json.loads(data) if data else {"ok": False, "error": "The keeper ended early. Try again."}
    return message


def _expect_ok(reply: dict[str, Any]) -> None:
    if not reply["ok"]:
        raise RuntimeFailure(reply["error"])


def _lives(values: dict[str, Any]) -> bool:
    return bool(values) and values["boot"] == boot_id() and start_ticks(values["keeper"]) == values["ticks"]
