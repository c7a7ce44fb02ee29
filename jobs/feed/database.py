"""The feed's two database connections: one that listens for wake-ups, one that reads lines.

Both are asyncio connections of their own, apart from Django's pool, so a busy site cannot starve the feed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from django.db import connections

from jobs import events, streams
from jobs.feed import metrics

logger = logging.getLogger(__name__)

BACKOFF = (0.05, 0.2, 0.5, 1, 2)  # seconds between attempts; the last repeats
LISTEN_SECONDS = 10  # between two looks whether the session that listens still answers
FRAME_BYTES = 256 * 1024  # JSON escapes can double it: the most a frame holds is about half a MiB
READ_SECONDS = 5  # for the answer to one query of the feed

# One snapshot answers for every cursor: where its stream begins and ends, its job's state, and its next lines, which
# the database writes as JSON so that this process only copies them. A line's share of FRAME_BYTES bounds the frame;
# a negative cursor asks for that many of the newest lines.
_READ = """
SELECT w.number, s.first_seq, s.last_seq, p.start, j.state, j.subject, l.until, l.rows
FROM unnest(%s::int[], %s::bigint[], %s::bigint[], %s::int[]) AS w (number, stream, after, most)
JOIN jobs_stream s ON s.id = w.stream
LEFT JOIN jobs_job j ON j.stream_id = s.id
CROSS JOIN LATERAL (
    SELECT CASE WHEN w.after < 0 THEN GREATEST(s.last_seq + w.after, s.first_seq - 1)
           ELSE LEAST(w.after, s.last_seq) END AS start
) p
CROSS JOIN LATERAL (
    SELECT max(seq) AS until, string_agg(
        '[' || seq || ',' || (extract(epoch FROM at) * 1000)::bigint || ',' || to_json(text) || ']', ',' ORDER BY seq
    ) AS rows
    FROM (
        SELECT seq, at, text, sum(octet_length(text) + 40) OVER (ORDER BY seq) AS size FROM jobs_line
        WHERE stream_id = w.stream AND seq > p.start ORDER BY seq LIMIT w.most
    ) next WHERE size <= %s
) l
"""


class Cursor(NamedTuple):
    """Where to read: lines of `stream` above `after`, at most `most`."""

    stream: int
    after: int
    most: int


@dataclass(frozen=True, slots=True)
class Part:
    """What a cursor found. `rows` is JSON without brackets, up to number `until`; None when there is nothing new."""

    first_seq: int
    last_seq: int
    start: int
    state: str | None
    subject: str | None
    until: int | None
    rows: str | None


async def connect() -> psycopg.AsyncConnection[Any]:
    """A connection to Django's default database, in autocommit."""
    params = connections["default"].get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        params.pop(name, None)
    return await psycopg.AsyncConnection.connect(**params, autocommit=True)


class Reader:
    """Reads for all cursors at once."""

    def __init__(self) -> None:
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def read(self, cursors: Sequence[Cursor]) -> list[Part | None]:
        """A part for each cursor, None where there is no such stream. Raises `psycopg.Error` without a database."""
        if self._connection is None or self._connection.closed:
            self._connection = await connect()
        numbers, ids = range(len(cursors)), [cursor.stream for cursor in cursors]
        values: list[Any] = [
            list(numbers),
            ids,
            [cursor.after for cursor in cursors],
            [cursor.most for cursor in cursors],
            FRAME_BYTES,
        ]
        metrics.reads.inc()
        rows = await self._answer(self._connection, values)
        parts = {row[0]: Part(*row[1:]) for row in rows}
        return [parts.get(number) for number in numbers]

    async def _answer(self, connection: psycopg.AsyncConnection[Any], values: list[Any]) -> list[Any]:
        """One that does not come in time is left to itself, with its connection: to cancel it takes as long again."""
        asked = asyncio.create_task(_fetch(connection, values))
        try:
            done, _ = await asyncio.wait({asked}, timeout=READ_SECONDS)
        except asyncio.CancelledError:
            asked.cancel()
            raise
        if not done:
            asked.cancel()
            self._connection = None
            raise psycopg.OperationalError(f"no answer within {READ_SECONDS} s")
        return asked.result()


async def _fetch(connection: psycopg.AsyncConnection[Any], values: list[Any]) -> list[Any]:
    """All rows; a connection that failed is closed."""
    try:
        return await (await connection.execute(_READ, values, prepare=True)).fetchall()
    except BaseException:
        await connection.close()
        raise


async def listen(
    *, told: Callable[[int, int], None], changed: Callable[[str], None], regained: Callable[[], None]
) -> None:
    """Pass on wake-ups for ever: `told(stream, last)` and `changed(topic)`.

    `regained()` is called after each (re)connection once it listens, since wake-ups may have been missed before.
    """
    failures = 0
    while True:
        try:
            async with await connect() as connection:
                for channel in (streams.CHANNEL, events.CHANNEL):
                    await connection.execute(f"LISTEN {channel}")
                failures = 0
                regained()
                while True:
                    async for notice in connection.notifies(timeout=LISTEN_SECONDS):
                        _pass_on(notice, told, changed)
                    async with asyncio.timeout(READ_SECONDS):
                        await connection.execute("SELECT 1")  # notices a session that is lost, or hangs
        except (psycopg.Error, TimeoutError) as error:
            logger.warning("The feed lost its database connection and tries again: %s", error)
        await asyncio.sleep(delay(failures))
        failures += 1


def _pass_on(notice: psycopg.Notify, told: Callable[[int, int], None], changed: Callable[[str], None]) -> None:
    if notice.channel == events.CHANNEL:
        changed(notice.payload)
        return
    stream, _, last = notice.payload.partition(":")
    if stream.isdecimal() and last.isdecimal():  # any role of the database may NOTIFY
        told(int(stream), int(last))


def delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return BACKOFF[min(failures, len(BACKOFF) - 1)]
