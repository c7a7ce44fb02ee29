"""The safety net under the tail: finds viewers who stay behind although the table has more for them.

The tail should never leave one there. Should it, or should wake-ups be lost, nobody would be told: the socket is open
and silent. So the table is asked beside it, on a connection of its own, and whoever stays behind is counted, logged
and helped on.
"""

import asyncio
import logging
import time
from typing import Any

import psycopg

from jobs.feed import metrics
from jobs.feed.database import connect
from jobs.feed.tail import Tail
from jobs.feed.viewers import LineViewer, Watch

logger = logging.getLogger(__name__)

PERIOD = 1.0  # seconds between looks
STALLED_SECONDS = 5.0  # behind at the same number for so long
ANSWER_SECONDS = 5.0  # for the database
_TRUTH = """
SELECT s.id, s.last_seq, j.state FROM jobs_stream s LEFT JOIN jobs_job j ON j.stream_id = s.id WHERE s.id = ANY(%s)
"""


class Watchdog:
    """Looks after the viewers of one tail."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.look()
            except (psycopg.Error, TimeoutError) as error:  # the tail says so too
                logger.debug("The watchdog could not read: %s", error)

    async def look(self) -> None:
        """Compare once; whoever was behind at the same number all the time since `STALLED_SECONDS` is helped on."""
        asked = time.monotonic()
        for stream, last, state in await self._truth():
            if watch := self._tail.watches.get(stream):
                stalled = [viewer for viewer in watch.viewers if _is_stalled(viewer, last, state, asked)]
                if stalled:
                    self._help(watch, stalled, last)

    def _help(self, watch: Watch, stalled: list[LineViewer], last: int) -> None:
        metrics.stalled.inc(len(stalled))
        logger.warning(
            "%d viewers of stream %d stayed behind for %g s, one of them at line %d of %d. Reading for them again.",
            *(len(stalled), watch.stream, STALLED_SECONDS, stalled[0].after, last),
        )
        for viewer in stalled:
            viewer.stuck = None
        self._tail.look_at(watch)

    async def _truth(self) -> list[tuple[int, int, str | None]]:
        if not (streams := list(self._tail.watches)):
            return []
        if self._connection is None or self._connection.closed:
            self._connection = await connect()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await (await self._connection.execute(_TRUTH, [streams])).fetchall()
        except BaseException:
            await self._connection.close()
            raise


def _is_stalled(viewer: LineViewer, last: int, state: str | None, asked: float) -> bool:
    """A paused viewer has a limit of its own. `asked`: what came later is no reason yet."""
    if viewer.paused_at is not None or (last <= viewer.after and viewer.state == state):
        viewer.stuck = None
    elif viewer.stuck is None or viewer.stuck[0] != viewer.after:
        viewer.stuck = (viewer.after, asked)
    return viewer.stuck is not None and asked - viewer.stuck[1] >= STALLED_SECONDS
