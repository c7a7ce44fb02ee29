"""The queue: django-q2's ORM broker with a fair, exact dequeue and a wake-up where it would poll.

A row is taken only for a worker that is free (jobs/slots.py), by whose turn it is (jobs/turns.py).
A row taken is hidden for `VISIBLE_AGAIN` seconds, in which a worker claims its job and deletes it. If the cluster
dies before, the row comes back by itself; a delivery too many finds its job claimed and does nothing.
"""

import hashlib
import logging
import select
import time
from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import Error, connection
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

from jobs.slots import Slots
from jobs.turns import PORTAL, Turns, Waiting, Work

VISIBLE_AGAIN = 15
WAIT = 1.0  # seconds a dequeue listens at most, so that the pusher sees its stop flag
BACKOFF = 0.5
UNBOUNDED = 1000

_ENQUEUE = """
WITH made AS (
    INSERT INTO django_q_ormq (key, payload, lock, member, bulk) VALUES (%s, %s, now(), %s, %s) RETURNING id
)
SELECT id, pg_notify(%s, '') FROM made
"""
# The oldest free row of each member and class: jumps from one to the next in the index (key, bulk, member, id), so
# its cost grows with the members who wait and not with what each of them has waiting.
_WAITING = """
WITH RECURSIVE waiting AS (
    (SELECT bulk, member FROM django_q_ormq WHERE key = %(queue)s ORDER BY bulk, member LIMIT 1)
    UNION ALL
    SELECT next.bulk, next.member FROM waiting, LATERAL (
        SELECT row.bulk, row.member FROM django_q_ormq AS row
        WHERE row.key = %(queue)s AND (row.bulk, row.member) > (waiting.bulk, waiting.member)
        ORDER BY row.bulk, row.member LIMIT 1
    ) AS next
)
SELECT waiting.member, waiting.bulk, oldest.id FROM waiting, LATERAL (
    SELECT row.id FROM django_q_ormq AS row
    WHERE row.key = %(queue)s AND row.bulk = waiting.bulk AND row.member = waiting.member AND row.lock <= now()
    ORDER BY row.id LIMIT 1
) AS oldest
"""
# A row that somebody is about to delete, with their job or its cancelling, is not waited for.
_TAKE = """
UPDATE django_q_ormq SET lock = now() + %s * interval '1 second' WHERE id = (
    SELECT id FROM django_q_ormq WHERE id = %s AND lock <= now() FOR UPDATE SKIP LOCKED
) RETURNING id, payload
"""
log = logging.getLogger(__name__)


def channel(queue: str) -> str:
    """Where the queue's wake-ups go. Hashed, since a queue's name may be longer than a channel's (63 bytes)."""
    return f"left4me_queue_{hashlib.blake2s(queue.encode(), digest_size=12).hexdigest()}"


class Broker(ORM):
    """Named by `Q_CLUSTER["broker_class"]`; its `list_key` is the node whose queue it serves."""

    slots: Slots | None = None  # the cluster's workers; without, as in tests, there always is a free one
    _listener: psycopg.Connection[Any] | None = None

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)  # type: ignore[arg-type]  # django-q2 takes None for its default
        self._turns = Turns()

    def enqueue(self, task: str, *, member: int = PORTAL, bulk: bool = False) -> int:
        """Store a signed task and wake its cluster, both when the caller's transaction commits; the row's number."""
        with connection.cursor() as db:
            db.execute(_ENQUEUE, [self.list_key, task, member, bulk, channel(self.list_key)])
            return int(db.fetchone()[0])

    def dequeue(self) -> list[tuple[int, str]] | None:
        """The row whose turn it is, once a worker is free for it, or after up to `WAIT` seconds `None`.

        It listens before it looks, so a row made in between cuts the wait short, as does a worker that becomes free.
        A lost connection is made again here: django-q2 would end its pusher after ten seconds.
        """
        at_work = self.slots.at_work() if self.slots else []
        if self.slots and len(at_work) == len(self.slots):
            self.slots.wait(WAIT)
            return None
        try:
            listener = self._listener = self._listener or self._listen()
            if row := self._take_next(listener, at_work):
                return [row]
            self._wait(listener)
        except psycopg.Error as error:
            log.warning("The queue cannot be read, trying again: %s", str(error).strip())
            if self._listener:
                self._listener.close()
            self._listener = None
            time.sleep(BACKOFF)
        return None

    def _take_next(self, listener: psycopg.Connection[Any], at_work: Sequence[Work]) -> tuple[int, str] | None:
        rows = listener.execute(_WAITING, {"queue": self.list_key}).fetchall()
        workers = len(self.slots) if self.slots else UNBOUNDED
        for one in self._turns.order(map(Waiting._make, rows), at_work, workers):
            if row := listener.execute(_TAKE, [VISIBLE_AGAIN, one.row]).fetchone():
                self._turns.served(one.member)
                return int(row[0]), str(row[1])
        return None

    def _wait(self, listener: psycopg.Connection[Any]) -> None:
        """Until a row is made or a worker free. Wake-ups that came with an answer are no longer in the socket."""
        if list(listener.notifies(timeout=0)):
            return
        if self.slots:
            self.slots.wait(WAIT, listener)
        else:
            select.select([listener], [], [], WAIT)

    def acknowledge(self, task_id: int) -> None:
        """Delete a row that was delivered. When that fails the row comes again, which does no harm."""
        try:
            OrmQ.objects.filter(pk=task_id).delete()
        except Error as error:
            log.warning("Queue row %s stays for now: %s", task_id, str(error).strip())

    def _listen(self) -> psycopg.Connection[Any]:
        parameters = connection.get_connection_params() | {"connect_timeout": 5}
        listener = psycopg.connect(**parameters, autocommit=True)
        # A row hidden for some seconds needs no flush to disk: after a crash it is simply free again.
        listener.execute("SET synchronous_commit = off")
        listener.execute("SET enable_seqscan = off")  # whatever the planner believes of a table that fills and empties
        listener.execute(f"LISTEN {channel(self.list_key)}")
        return listener
