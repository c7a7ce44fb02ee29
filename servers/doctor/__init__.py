"""The doctor: compares what is in force on this machine with what the portal ships and what its database says.

`examine()` is what `manage.py doctor` prints. On a real host it runs as root, to look into the games' namespaces, and
takes the portal's own identity to ask what that may do. Every module here yields `Check`s and changes nothing.
"""

from collections.abc import Callable, Iterator

from django.conf import settings

from servers.doctor import machine, mounts, portal, rights, units
from servers.doctor.check import Check, State

__all__ = ["Check", "State", "examine"]

EVERYWHERE = [machine.examine, portal.examine]
REAL_HOST = [units.examine, rights.examine, mounts.examine]


def examine() -> Iterator[Check]:
    """Every check that applies here, one after the other; one that breaks is a failed check, not an end."""
    for part in [*EVERYWHERE, *(REAL_HOST if settings.RUNTIME == "systemd" else [])]:
        yield from _guarded(part)


def _guarded(part: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from part()
    except Exception as error:  # what the doctor looks at is what may be broken
        name = part.__module__.rpartition(".")[2]
        yield Check(name, State.FAIL, f"could not be examined: {type(error).__name__}: {error}")
