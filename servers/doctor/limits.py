"""Limits in force on a running game's unit, compared with what the database says of its next start."""

from pathlib import Path
from typing import Any

from servers import games
from servers.doctor.check import Check, State, verdict
from servers.limits import Limits, effective
from servers.models import Server

NO_QUOTA = (1 << 64) - 1


def check(server: Server, properties: dict[str, Any]) -> Check:
    """`server` with its blueprint; `properties` of its unit, which runs."""
    game = games.all_games().get(server.game)
    wanted = effective(server, server.blueprint, game and game.limits)
    quota = properties["CPUQuotaPerSecUSec"]
    found = Limits(
        memory_mib=properties["MemoryMax"] >> 20,
        cpu_percent=None if quota == NO_QUOTA else quota // 10_000,
        tasks_max=properties["TasksMax"],
        open_files=_open_files(properties["MainPID"]),
    )
    wrong = [] if found == wanted else [f"{found}; the database says: {wanted}. Restart the server."]
    return verdict(f"limits of {server.name}", wrong, f"{found}.", state=State.WARN)


def _open_files(process: int) -> int:
    """Of the launcher, which the game has too. prlimit(2) would need one more capability (left4me-doctor.service)."""
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()
    return next(int(line.split()[4]) for line in lines if line.startswith("Max open files"))
