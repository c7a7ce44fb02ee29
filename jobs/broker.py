"""The queue: django-q2's ORM broker with an ordered, exact dequeue and a wake-up where it would poll.

A row taken is hidden for `VISIBLE_AGAIN` seconds, in which a worker claims its job and deletes it. If the cluster
dies before, the row comes back by itself; a delivery too many finds its job claimed and does nothing.
"""

import hashlib
import logging
import time
from typing import Any

import psycopg
from django.db import Error, connection
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

VISIBLE_AGAIN = 15
WAIT = 1.0  # seconds a dequeue listens at most, so that the pusher sees its stop flag
BACKOFF = 0.5

_ENQUEUE = """
WITH made AS (INSERT INTO django_q_ormq (key, payload, lock) VALUES (%s, %s, now()) RETURNING id)
SELECT id, pg_notify(%s, '') FROM made
"""
_DEQUEUE = """
UPDATE django_q_ormq SET lock = now() + %s * interval '1 second' WHERE id = (
    SELECT id FROM django_q_ormq WHERE key = %s AND lock <= now() ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1
) RETURNING id, payload
"""
log = logging.getLogger(__name__)


def channel(queue: str) -> str:
    """Where the queue's wake-ups go. Hashed, since a queue's name may be longer than a channel's (63 bytes)."""
    return f"left4me_queue_{hashlib.blake2s(queue.encode(), digest_size=12).hexdigest()}"


class Broker(ORM):
    """Named by `Q_CLUSTER["broker_class"]`; its `list_key` is the node whose queue it serves."""

    _listener: psycopg.Connection[Any] | None = None

    def enqueue(self, task: str) -> int:
        """Store a signed task and wake its cluster, both when the caller's transaction commits; the row's number."""
        with connection.cursor() as db:
            db.execute(_ENQUEUE, [self.list_key, task, channel(self.list_key)])
            return int(db.fetchone()[0])

    def dequeue(self) -> list[tuple[int, str]] | None:
        """The oldest row that is free, or after up to `WAIT` seconds `None`.

        It listens before it looks, so a row made in between cuts the wait short. A lost connection is made anew
        here: django-q2 would end its pusher after ten seconds.
        """
        try:
            listener = self._listener = self._listener or self._listen()
            if row := listener.execute(_DEQUEUE, [VISIBLE_AGAIN, self.list_key]).fetchone():
                return [row]
            for _wake_up in listener.notifies(timeout=WAIT, stop_after=1):
                pass
        except psycopg.Error as error:
            log.warning("The queue cannot be read, trying again: %s", str(error).strip())
            if self._listener:
                self._listener.close()
            self._listener = None
            time.sleep(BACKOFF)
        return None

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
        listener.execute(f"LISTEN {channel(self.list_key)}")
        return listener
