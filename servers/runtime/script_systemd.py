"""A layer's script on a real host: left4me-build@NAME, or left4me-build-net@NAME with the network; output by a pipe.

The pipe is in the build's folder and this process its only reader: no line is lost or waits in a journal, a script
that prints faster than lines are stored waits, and when this process is killed the sandbox's first one sees that and
ends. The units' own time limit ends whatever else should go wrong.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache

from jobs import process
from jobs.process import Lines
from servers.runtime.base import RuntimeFailure
from servers.runtime.bus import Bus
from servers.runtime.results import EXEC_FAILURES
from servers.runtime.scripts import Script

UNITS = ("left4me-build@{}.service", "left4me-build-net@{}.service")
START_SECONDS, STOP_SECONDS = 60, 30
TICK, ASK_EVERY = 0.1, 0.5  # seconds; the second for the unit's state


@cache
def _connection() -> Bus:
    return Bus()


os.register_at_fork(after_in_child=_connection.cache_clear)  # it belongs to the process that made it


def run(script: Script, *, on_line: Callable[[str], None], check: Callable[[], None]) -> int:
    """See `servers.runtime.scripts`."""
    bus = _connection()
    unit = UNITS[script.network].format(script.name)
    _stop(bus, script)
    with _pipe(script) as pipe:
        try:
            if bus.run_job("Start", unit, timeout=START_SECONDS) != "done":
                raise RuntimeFailure(_why_not(bus, unit))
            with closing(Lines(on_line)) as lines:
                _follow(bus, unit, pipe, lines, check)
            return _code(bus, unit)
        finally:
            _stop(bus, script)


@contextmanager
def _pipe(script: Script) -> Iterator[int]:
    path = script.folder / "log"
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o660)
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield pipe
    finally:
        os.close(pipe)


def _follow(bus: Bus, unit: str, pipe: int, lines: Lines, check: Callable[[], None]) -> None:
    """Until the unit has ended, which leaves no process of it, and all that was written is read."""
    ask_at = 0.0
    while True:
        check()
        is_over = False
        if time.monotonic() >= ask_at:
            known = bus.units(unit).get(unit)
            is_over = known is None or known.active in ("inactive", "failed")
            ask_at = time.monotonic() + ASK_EVERY
        while chunk := _read(pipe):
            lines.feed(chunk)
            check()
        if is_over:
            return
        time.sleep(TICK)


def _read(pipe: int) -> bytes:
    """b"" when there is nothing by now, whether or not somebody may still write."""
    try:
        return os.read(pipe, process.CHUNK)
    except BlockingIOError:
        return b""


def _code(bus: Bus, unit: str) -> int:
    """What its first process ended with; a unit that ended well is forgotten by systemd. Raises `RuntimeFailure`."""
    known = bus.units(unit).get(unit)
    if known is None or known.active != "failed":
        return 0
    found = bus.properties(known, anew=True)
    if found["Result"] == "oom-kill":
        raise RuntimeFailure("The script needed more memory than it may use and was ended. Make it need less.")
    if found["Result"] != "exit-code":
        raise RuntimeFailure(f"The script was ended from outside ({found['Result']}). Build again.")
    return int(found["ExecMainStatus"])


def _why_not(bus: Bus, unit: str) -> str:
    known = bus.units(unit).get(unit)
    code = int(bus.properties(known, anew=True)["ExecMainStatus"]) if known else 0
    reason = EXEC_FAILURES.get(code, "systemd did not start its unit")
    return f"The script was not run: {reason}. Ask an admin to run the doctor on this machine."


def _stop(bus: Bus, script: Script) -> None:
    """Also what a worker that was killed has left. Raises `RuntimeFailure` if something survives."""
    units = [unit.format(script.name) for unit in UNITS]
    for unit in bus.units(*units):
        bus.run_job("Stop", unit, timeout=STOP_SECONDS)
        bus.reset_failed(unit)
    if any(known.active not in ("inactive", "failed") for known in bus.units(*units).values()):
        raise RuntimeFailure("The script did not end, not even when it was killed. Ask an admin.")
