"""The limits a game's definition asks for, where the portal's own do not fit it."""

from typing import Annotated

from pydantic import Field

from servers.games.base import Model
from servers.limits import BOUNDS


def _between(name: str) -> object:
    least, most = BOUNDS[name]
    return Field(ge=least, le=most)


class GameLimits(Model):
    """In the units of `servers.limits.Limits`."""

    memory_mib: Annotated[int, _between("memory_mib")] | None = None
    cpu_percent: Annotated[int, _between("cpu_percent")] | None = None
    tasks_max: Annotated[int, _between("tasks_max")] | None = None
    open_files: Annotated[int, _between("open_files")] | None = None
