"""How much of what a game prints is stored: a game that floods its console loses lines of its own, and it is said."""

import time
from collections.abc import Sequence

from jobs.streams import MAX_LINE

MARK = "[left4me] "
A_SECOND, AT_ONCE = 2000, 100_000  # lines; what was not used is saved up to the latter
LINE = 128  # characters of a line that counts as one


class Allowance:
    """Of one console. Lines are stored or dropped by whole batches, so that a place in the text is either side of both.

    `dropped`: lines since the last that were stored. Nothing in the database tells of them before `notice` is there.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._left, self._at = float(AT_ONCE), time.monotonic()

    def allows(self, lines: Sequence[str]) -> bool:
        """Whether they are to be stored, behind the notice; counts them in either case."""
        now = time.monotonic()
        self._left, self._at = min(AT_ONCE, self._left + (now - self._at) * A_SECOND), now
        cost = sum(1 + min(len(line), MAX_LINE) // LINE for line in lines)
        least = max(cost, A_SECOND) if self.dropped and lines else cost  # so that a flood has one notice a second
        if self._left < least:
            self.dropped += len(lines)
            return False
        self._left -= cost
        return True

    def notice(self) -> list[str]:
        """A line that tells what was dropped, once."""
        count, self.dropped = self.dropped, 0
        return [f"{MARK}{count} lines were dropped: the game prints more than {A_SECOND} a second."] if count else []
