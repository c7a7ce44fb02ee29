"""Whose turn it is: which of the jobs that wait goes to the worker that is free. Pure; jobs/broker.py asks it.

Two classes of jobs share a cluster's workers. Quick ones (a start, a stop) somebody waits for; bulk ones (a build, an
installation) may take hours. Bulk never has every worker, and no member has so many that others wait for all of them.
Among members the one with the fewest jobs at work goes first, then whoever went longest ago. So a member's hundred
jobs delay another's single one by one at most. The portal itself counts as one member, number `PORTAL`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

PORTAL = 0
MEMBER_BULK = 2  # bulk jobs of one member at once, on a cluster with room for them


class Work(NamedTuple):
    """A job that a worker has."""

    member: int
    bulk: bool


class Waiting(NamedTuple):
    """The oldest of a member's jobs of one class that wait."""

    member: int
    bulk: bool
    row: int


class Turns:
    """Remembers when each member was last served; forgets it with its process, which costs one turn."""

    def __init__(self) -> None:
        self._served: dict[int, int] = {}
        self._count = 0

    def order(self, waiting: Iterable[Waiting], at_work: Sequence[Work], workers: int) -> list[Waiting]:
        """Those that may have a free worker now, the first in turn first."""
        jobs = Counter(work.member for work in at_work)
        bulk = Counter(work.member for work in at_work if work.bulk)
        bulk_has_room = bulk.total() < most_bulk(workers)

        def may_run(one: Waiting) -> bool:
            if one.bulk and not (bulk_has_room and bulk[one.member] < most_bulk_of_member(workers)):
                return False
            return one.member == PORTAL or jobs[one.member] < most_of_member(workers)

        def rank(one: Waiting) -> tuple[int, int, int]:
            return jobs[one.member], self._served.get(one.member, 0), one.row

        return sorted(filter(may_run, waiting), key=rank)

    def served(self, member: int) -> None:
        self._count += 1
        self._served[member] = self._count


def most_bulk(workers: int) -> int:
    """How many workers bulk jobs may have: a quarter, one at least, is reserved for quick ones.

    With a single worker there is nothing to reserve; `manage.py cluster` says so.
    """
    return max(1, workers - max(1, workers // 4))


def most_bulk_of_member(workers: int) -> int:
    """Fewer than all bulk jobs may have, where those have more than one."""
    return max(1, min(MEMBER_BULK, most_bulk(workers) - 1))


def most_of_member(workers: int) -> int:
    """One worker is left to others; but of two, a member's own start need not wait for their build."""
    return max(2, workers - 1)
