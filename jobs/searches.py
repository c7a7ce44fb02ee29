"""Searches of logs: each reads up to all lines of a stream, so one member has one at a time, and all have few.

Each holds a database connection of the few that all pages of a process share (`portal.web.POOL`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import close_old_connections, connection, transaction

from jobs.models import Line

MOST_FOUND = 10_000
SEARCH_MS = 5000
AT_ONCE = 3  # in a process, of all members together
WAIT_SECONDS = 10  # for a place


class Refused(Exception):
    """There was no place; says why."""


class Places:
    """Who searches in this process. A member's newest search waits for the one before; older ones that wait give up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._searching: set[int] = set()
        self._newest: dict[int, object] = {}  # who waits, and for which search

    @contextmanager
    def take(self, user_id: int) -> Iterator[None]:
        """Hold a place meanwhile. Raises `Refused` when there is none for `WAIT_SECONDS` or a newer search came."""
        self._wait(user_id)
        try:
            yield
        finally:
            with self._changed:
                self._searching.discard(user_id)
                self._changed.notify_all()

    def _wait(self, user_id: int) -> None:
        mine = object()

        def is_over() -> bool:
            return self._newest.get(user_id) is not mine

        def is_free() -> bool:
            return user_id not in self._searching and len(self._searching) < AT_ONCE

        with self._changed:
            self._newest[user_id] = mine
            self._changed.notify_all()
            self._changed.wait_for(lambda: is_over() or is_free(), WAIT_SECONDS)
            if is_over():
                raise Refused("A newer search of yours took its place.")
            del self._newest[user_id]
            if not is_free():
                raise Refused("Too many members are searching just now. Try again in a moment.")
            self._searching.add(user_id)


_places = Places()


def search(*, stream_id: int, text: str, user_id: int) -> tuple[list[int], bool]:
    """Numbers of the newest lines that hold `text`, in order, and whether there are more than `MOST_FOUND`.

    Capital letters do not matter. Raises `Refused`, and `OperationalError` when it takes longer than `SEARCH_MS`.
    """
    give_back()  # who waits for a place holds no connection
    with _places.take(user_id):
        found = _newest(stream_id, text)
        give_back()
    return found[:MOST_FOUND][::-1], len(found) > MOST_FOUND


def give_back() -> None:
    """Return the connection to the pool now, not when the request ends."""
    if not connection.in_atomic_block:
        close_old_connections()


def _newest(stream_id: int, text: str) -> list[int]:
    """Reads every line of the stream, from the newest until it has found enough, and not for long.

    Left to itself the planner reads the lines of all streams and sorts: it cannot know how many hold a text.
    """
    holding = Line.objects.filter(stream=stream_id, text__icontains=text).order_by("-seq")
    limits = {"statement_timeout": str(SEARCH_MS), "max_parallel_workers_per_gather": "0"}
    limits |= {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
    with transaction.atomic():
        with connection.cursor() as db:
            for name, value in limits.items():
                db.execute("SELECT set_config(%s, %s, true)", [name, value])
        return list(holding.values_list("seq", flat=True)[: MOST_FOUND + 1])
