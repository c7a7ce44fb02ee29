"""What systemd says of a unit, as the portal's states and as sentences for members."""

import signal
from datetime import UTC, datetime
from typing import Any

from servers.runtime.base import Unit, UnitState, Usage

# Exit codes that systemd itself gives a process it could not start (systemd.exec(5), "Process exit codes").
EXEC_FAILURES = {
    200: "its folder could not be entered: the files are not mounted (200/CHDIR)",
    203: "its program could not be executed (203/EXEC)",
    217: "the user it runs as does not exist (217/USER)",
    218: "its privileges could not be dropped (218/CAPABILITIES)",
    226: "its sandbox could not be set up (226/NAMESPACE)",
    227: "its privileges could not be dropped (227/NO_NEW_PRIVILEGES)",
    228: "its system call filter could not be set up (228/SECCOMP)",
    238: "its state folder could not be made (238/STATE_DIRECTORY)",
}
CLD_EXITED = 1
UNKNOWN = (1 << 64) - 1
NAMED_SIGNALS = {number.value: number.name for number in signal.Signals}


def exit_sentence(properties: dict[str, Any]) -> str:
    """How the unit's last process ended, in a sentence."""
    code, status = _exit(properties)
    if properties.get("Result") == "oom-kill":
        limit = properties.get("MemoryMax", 0)
        what = f" of {limit >> 20} MiB" if 0 < limit < 1 << 60 else ""
        return f"The game needed more memory than its limit{what} and was ended (oom-kill)."
    if properties.get("Result") == "timeout":
        return "The game did not start or stop in time and was ended (timeout)."
    if status:
        return f"The game was ended by {NAMED_SIGNALS.get(status, f'signal {status}')}."
    if code in EXEC_FAILURES:
        return f"The game could not be started: {EXEC_FAILURES[code]}. Ask an admin to run the doctor on this machine."
    if code:
        return f"The game ended with exit code {code}."
    return "The game ended by itself."


def _exit(properties: dict[str, Any]) -> tuple[int | None, int | None]:
    """Exit code or signal of the last process; the launcher passes a game's signal on as 128 + its number."""
    if not properties.get("ExecMainExitTimestamp"):
        return None, None
    status = int(properties.get("ExecMainStatus", 0))
    if properties.get("ExecMainCode") != CLD_EXITED:
        return None, status
    return (None, status - 128) if status - 128 in NAMED_SIGNALS else (status, None)


def unit_usage(properties: dict[str, Any]) -> Usage | None:
    """What the unit's cgroup uses; None where it is not accounted for (systemd says so by the largest number)."""
    memory, cpu = (int(properties.get(name, UNKNOWN)) for name in ("MemoryCurrent", "CPUUsageNSec"))
    return None if UNKNOWN in (memory, cpu) else Usage(cpu_seconds=cpu / 1e9, memory=memory)


def unit_state(active: str, sub: str, job: str, properties: dict[str, Any]) -> UnitState:
    """The portal's view of left4me-server@NAME."""
    failed = properties.get("Result", "success") != "success"
    state: Unit = "stopped"
    if active in ("active", "reloading"):
        state = "running"
    elif active == "activating":
        state = "restarting" if sub.startswith("auto-restart") else "starting"
    elif active == "deactivating":
        # After a crash systemd cleans up before it starts again: that is not somebody's stop.
        state = "restarting" if failed and job != "stop" else "stopping"
    elif job in ("start", "restart"):
        state = "starting"
    elif active == "failed":
        state = "crashed"
    code, number = _exit(properties)
    since = properties.get("StateChangeTimestamp")
    return UnitState(
        unit=state,
        detail=_detail(state, properties),
        since=datetime.fromtimestamp(since / 1e6, UTC) if since else None,
        pid=properties.get("MainPID") or None,
        exit_code=code if state != "running" else None,
        exit_signal=number if state != "running" else None,
        restarts=properties.get("NRestarts", 0),
    )


def _detail(state: Unit, properties: dict[str, Any]) -> str:
    if state == "restarting":
        return f"{exit_sentence(properties)} It is started again."
    if state != "crashed":
        return ""
    if properties.get("Result") == "start-limit-hit":
        often = properties.get("StartLimitBurst", 0)
        return f"{exit_sentence(properties)} It was started {often} times in short order and stays down."
    return exit_sentence(properties)
