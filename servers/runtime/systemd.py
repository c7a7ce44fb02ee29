"""The systemd runtime: each game a unit of a real host, its files the unit before it (deploy/units).

The worker writes what the units need below STATE_DIR/runtime/NAME and asks systemd over D-Bus to start and stop them;
polkit lets it do that to these units alone. The units keep the games running whoever else comes or goes.
"""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from django.conf import settings

from servers.runtime import files, measuring, pokes, upper
from servers.runtime.asked_measure import AskedMeasure
from servers.runtime.base import SETTLE_SECONDS, Runtime, RuntimeFailure, ServerSpec, Undo, UnitState, Usage
from servers.runtime.bus import Bus
from servers.runtime.journal import Journal, JournalError
from servers.runtime.local import PATH
from servers.runtime.results import exit_sentence, unit_state, unit_usage
from servers.runtime.sharing import share
from servers.runtime.wakes import Wakes

LONGEST_NAME_BEFORE_257 = 27  # deploy/units/left4me-server-252.conf
START_SECONDS = 60
STOP_MARGIN_SECONDS = 10
POLL_SECONDS = 0.05
MARK = "[left4me] "


def server_unit(name: str) -> str:
    return f"left4me-server@{name}.service"


def overlay_unit(name: str) -> str:
    return f"left4me-overlay@{name}.service"


class SystemdRuntime(Runtime):
    """Units of this machine. Connections are made at first use and belong to one process (see `get_runtime`)."""

    def __init__(self) -> None:
        self._root: Path = settings.STATE_DIR / "runtime"

    @cached_property
    def _bus(self) -> Bus:
        return Bus()

    @cached_property
    def _journal(self) -> Journal:
        return Journal()

    def tree(self, name: str) -> Path:
        return self._folder(name) / "merged"

    def prepare(self, spec: ServerSpec) -> None:
        with self._lock(spec.name):
            if self._state(spec.name).unit in ("stopped", "crashed"):
                self._prepare(spec)

    def start(self, spec: ServerSpec) -> None:
        with self._lock(spec.name):
            if self._state(spec.name).unit in ("running", "restarting"):
                return
            self._prepare(spec)
            for unit in (overlay_unit(spec.name), server_unit(spec.name)):
                self._bus.reset_failed(unit)  # and forget earlier starts: their limit is meant for crashes
            result = self._bus.run_job("Start", server_unit(spec.name), timeout=START_SECONDS)
            try:
                if result != "done":
                    raise RuntimeFailure(self._why_not(spec.name, result))
                self._settle(spec.name)
            except RuntimeFailure:
                self._stop(spec.name, STOP_MARGIN_SECONDS)
                raise

    def stop(self, name: str, *, timeout: float | None = None) -> None:
        with self._lock(name):
            self._stop(name, timeout if timeout is not None else self._stop_seconds(name))

    def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        units = self._bus.units(server_unit("*"))
        found = {}
        for name in names:
            unit = units.get(server_unit(name))
            if unit is None or (unit.active == "inactive" and not unit.job):
                found[name] = UnitState(unit="stopped")
            else:
                found[name] = unit_state(unit.active, unit.sub, unit.job, self._bus.properties(unit))
        return found

    def usage(self, names: Iterable[str]) -> dict[str, Usage]:
        units = self._bus.units(server_unit("*"))
        known = {name: units[server_unit(name)] for name in names if server_unit(name) in units}
        found = {name: unit_usage(self._bus.properties(unit, anew=True)) for name, unit in known.items()}
        return {name: used for name, used in found.items() if used}

    def follow(self, on_change: Callable[[], None]) -> None:
        self._bus.on_change(on_change)

    def wakes(self) -> Wakes:
        return pokes.PipeWakes(self._root, lambda: self._journal)

    def read_console(self, name: str, cursor: str, limit: int = 1000) -> tuple[list[str], str]:
        try:
            since = int((self._folder(name) / "since").read_text())
        except FileNotFoundError:
            return [], cursor
        try:
            lines, after, dropped = self._journal.read(server_unit(name), cursor, since=since, limit=limit)
        except JournalError as error:
            raise RuntimeFailure(f"{error} Ask an admin to run the doctor on this machine.") from error
        notice = [f"{MARK}Output was dropped before it was read."] if dropped and lines else []
        return notice + lines, after

    def measure(self, name: str, *, enough: int | None = None) -> measuring.Measure:
        return AskedMeasure(name, measuring.own_folders(self._folder(name)), enough=enough)

    def undo(self, name: str, wanted: Sequence[Undo]) -> dict[str, str] | None:
        with self._lock(name):
            units = self._bus.units(server_unit(name), overlay_unit(name))
            if any(unit.active not in ("inactive", "failed") for unit in units.values()):
                return None
            return upper.undo(self._folder(name), wanted)

    def remove(self, name: str, token: str) -> None:
        with self._lock(name):
            if self._state(name).unit not in ("stopped", "crashed"):
                raise RuntimeFailure(f"“{name}” still runs. Stop it first.")
            self._stop(name, STOP_MARGIN_SECONDS)
            files.put_aside(self._root, name, token)

    def discard(self, name: str) -> None:
        self.remove(name, files.DISCARDED)
        files.delete_aside(self._root, name, files.DISCARDED)

    def restore(self, name: str, token: str) -> None:
        files.bring_back(self._root, name, token)
        if self._folder(name).exists():
            self._write(name, "since", _now())  # another server had the name meanwhile: its lines are not ours

    def forget(self, name: str, token: str) -> None:
        files.delete_aside(self._root, name, token)

    def purge(self, older_than: timedelta) -> int:
        return files.purge(self._root, older_than)

    def _folder(self, name: str) -> Path:
        if not name or name.startswith(".") or "/" in name:
            raise ValueError("not a server's name")
        return self._root / name

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """One start, stop or change of files at a time; systemd orders its jobs, but files are written before."""
        self._folder(name)
        locks = self._root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name).open("a") as lock:
            limit = time.monotonic() + START_SECONDS * 2
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > limit:
                        raise RuntimeFailure(f"“{name}” is being started or stopped. Wait and try again.") from None
                    time.sleep(POLL_SECONDS)
            yield

    def _state(self, name: str) -> UnitState:
        return self.states([name])[name]

    def _prepare(self, spec: ServerSpec) -> None:
        folder = self._folder(spec.name)
        if len(spec.name) > LONGEST_NAME_BEFORE_257 and self._bus.version < 257:
            raise RuntimeFailure(
                f"This machine's systemd takes servers' names of at most {LONGEST_NAME_BEFORE_257} letters. "
                "Make the server anew under a shorter one."
            )
        try:
            files.require_room(self._root)
            files.make_folders(folder)
            for layer in spec.layers:
                share(layer)
            files.write_config(folder, spec.files)
            share(folder / "config")
            (folder / "tmp").mkdir(exist_ok=True)
            for name in measuring.WRITTEN:
                share(folder / name, deep=False)
            if not (folder / "since").exists():
                self._write(spec.name, "since", _now())
            pokes.make_pipe(folder)
            self._write(spec.name, "unit.json", json.dumps(unit_order(spec)))
            self._write(spec.name, "run.json", json.dumps(self._run_order(spec)))
        except FileNotFoundError as error:
            raise RuntimeFailure(f"The files in {error.filename} are gone. Install the game again.") from error
        except OSError as error:
            raise RuntimeFailure(f"The server's folders could not be made: {error.strerror}. Ask an admin.") from error

    def _run_order(self, spec: ServerSpec) -> dict[str, Any]:
        """What deploy/libexec/launch reads."""
        # The portal's own interpreter is out of sight in a game's sandbox; the system's, on which it stands, is not.
        argv = [os.path.realpath(part) if part == sys.executable else part for part in spec.argv]
        base = {"PATH": PATH, "HOME": str(self.tree(spec.name)), "LANG": "C.UTF-8", "TERM": "dumb"}
        return {
            "argv": argv,
            "environment": base | dict(spec.environment),
            "workdir": spec.workdir,
            "stop_signal": int(spec.stop_signal),
            "stop_after": spec.stop_after,
            "kill_after": spec.kill_after,
            "open_files": spec.limits.open_files,
        }

    def _write(self, name: str, file: str, text: str) -> None:
        target = self._folder(name) / file
        partial = target.with_name(f"{file}.new")
        partial.write_text(text)
        partial.chmod(0o640)
        partial.rename(target)

    def _why_not(self, name: str, result: str) -> str:
        """Why a start job did not end as "done", from the units' properties."""
        if result == "dependency":
            units = self._bus.units(overlay_unit(name))
            known = self._bus.properties(units[overlay_unit(name)]) if units else {}
            reason = known.get("StatusText") or exit_sentence(known)
            return f"The server's files could not be mounted: {reason} Ask an admin if that does not tell you why."
        if result == "timeout":
            return f"“{name}” did not start within {START_SECONDS} s and was ended. Try again."
        units = self._bus.units(server_unit(name))
        if units and (sentence := exit_sentence(self._bus.properties(units[server_unit(name)]))):
            return sentence
        return f"systemd ended the start with “{result}”. Try again."

    def _settle(self, name: str) -> None:
        """Raise unless the game runs for `SETTLE_SECONDS` from now."""
        limit = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < limit:
            state = self._state(name)
            if state.unit != "running" or state.restarts:
                units = self._bus.units(server_unit(name))
                known = self._bus.properties(units[server_unit(name)]) if units else {}
                raise RuntimeFailure(f"{exit_sentence(known)} It ended at once.")
            time.sleep(POLL_SECONDS)

    def _stop(self, name: str, timeout: float) -> None:
        server, overlay = server_unit(name), overlay_unit(name)
        for unit, seconds in ((server, timeout), (overlay, STOP_MARGIN_SECONDS)):
            known = self._bus.units(unit).get(unit)
            if known is None:
                continue
            if self._bus.run_job("Stop", unit, timeout=seconds) == "timeout":
                self._bus.kill(unit, signal.SIGKILL)
                self._bus.run_job("Stop", unit, timeout=STOP_MARGIN_SECONDS)
            self._bus.reset_failed(unit)
        units = self._bus.units(server, overlay)
        if any(unit.active not in ("inactive", "failed") for unit in units.values()):
            raise RuntimeFailure(f"“{name}” did not end, not even when it was killed. Ask an admin.")

    def _stop_seconds(self, name: str) -> float:
        try:
            order = json.loads((self._folder(name) / "run.json").read_text())
            return float(order["stop_after"] + order["kill_after"] + STOP_MARGIN_SECONDS)
        except (FileNotFoundError, ValueError, KeyError):
            return float(STOP_MARGIN_SECONDS)


def unit_order(spec: ServerSpec) -> dict[str, Any]:
    """What deploy/libexec/overlay reads: names and numbers. Raises `RuntimeFailure` for a layer that has no name."""
    names: dict[str, list[str]] = {"installations": [], "layers": []}
    for layer in spec.layers:
        kind, _, name = str(layer.relative_to(settings.STATE_DIR)).partition("/")
        if kind not in names:
            raise RuntimeFailure(f"{layer} is not a folder that a server's files can come from.")
        names[kind].append(name)
    [installation] = names["installations"]
    return {
        "installation": installation,
        "layers": names["layers"],
        "memory_max": spec.limits.memory_mib << 20,
        "cpu_percent": spec.limits.cpu_percent,
        "tasks_max": spec.limits.tasks_max,
        "ports": list(spec.ports),
    }


def _now() -> str:
    return str(time.time_ns() // 1000)
