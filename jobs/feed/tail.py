"""Follows streams for all viewers of this process: one loop reads for all who are behind, then writes.

Whoever is behind, for whatever reason (new, resumed, slow, or simply a new line), is served the same way: one read for
all of a stream who stand at the same number. Frames end at fixed numbers where more is to come, so that viewers who
catch up meet there and go on as one.
"""

import asyncio
import logging
import time
from typing import NamedTuple

import psycopg

from jobs.feed import frames, metrics
from jobs.feed.database import Cursor, Part, Reader, delay
from jobs.feed.viewers import NEVER, LineViewer, Watch
from jobs.models import Job

logger = logging.getLogger(__name__)

BATCH = 500  # lines a frame, and the step at which viewers who catch up meet
CURSORS = 64  # numbers a query
LEAST_PERIOD = 0.02  # seconds from query to query, so their rate is bounded whatever goes on
SLICE = 0.01  # seconds of writing before other work of the process gets its turn
CLOSE_DONE, CLOSE_TRY_AGAIN, CLOSE_UNKNOWN = 1000, 1013, 4404


class Standing(NamedTuple):
    """Viewers of one stream who stood at the same number when a round began, and the news they will then have heard."""

    watch: Watch
    after: int
    viewers: list[LineViewer]
    news: int

    def holds(self, viewer: LineViewer) -> bool:
        """Whether the viewer still stands there: it may have left while the round waited."""
        return viewer.watch is self.watch and viewer.after == self.after and viewer.paused_at is None


class Tail:
    """All watched streams of this process."""

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}
        self._subjects: dict[str, set[Watch]] = {}
        self._due: dict[Watch, None] = {}  # an ordered set: who may have viewers behind, longest wait first
        self._wake = asyncio.Event()
        self._reader = Reader()
        self._round = 0

    # What the feed is told.

    def attach(self, viewer: LineViewer, stream: int, after: int) -> None:
        """Show `viewer` the lines above `after`, or the newest `-after`."""
        watch = self.watches.setdefault(stream, Watch(stream))
        viewer.watch, viewer.after = watch, after
        watch.viewers[viewer] = None
        self._look(watch)

    def detach(self, viewer: LineViewer) -> None:
        """Forget the viewer; its stream too when it was the last."""
        if (watch := viewer.watch) is None:
            return
        watch.viewers.pop(viewer, None)
        viewer.watch = None
        if not watch.viewers:
            self.watches.pop(watch.stream, None)
            self._set_subject(watch, None)

    def told(self, stream: int, last: int) -> None:
        """The stream has lines up to `last`. That a read has found them already is no reason to pass over this: it was
        a read for some of the viewers, and any role of the database may tell any number."""
        if watch := self.watches.get(stream):
            self.look_at(watch)

    def changed(self, topic: str) -> None:
        """Something about a subject changed: perhaps the state of a job that is watched."""
        for watch in self._subjects.get(topic, ()):
            self.look_at(watch)

    def look_everywhere(self) -> None:
        """Wake-ups may have been missed: read again for everybody."""
        for watch in self.watches.values():
            self.look_at(watch)

    def drained(self, viewer: LineViewer) -> None:
        """A slow viewer's buffer is empty again: it reads on from its number."""
        viewer.paused_at = None
        if viewer.watch:
            self._look(viewer.watch)

    def look_at(self, watch: Watch) -> None:
        """There may be something new in the stream: everybody who watches it is behind until it was read."""
        watch.news += 1
        self._look(watch)

    def _look(self, watch: Watch) -> None:
        self._due[watch] = None
        self._wake.set()

    # The loop.

    async def run(self) -> None:
        """Serve for ever."""
        failures = 0
        while True:
            await self._wake.wait()
            started = time.monotonic()
            try:
                await self._serve_round()
                failures = 0
            except psycopg.Error as error:
                logger.warning("The feed could not read and tries again: %s", error)
                await asyncio.sleep(delay(failures))
                failures += 1
            await asyncio.sleep(max(0, started + LEAST_PERIOD - time.monotonic()))

    async def _serve_round(self) -> None:
        """Read and write once for those who waited longest. However it ends, whoever is still behind stays due."""
        self._round += 1
        watches, standings = self._next()
        try:
            cursors = [Cursor(one.watch.stream, one.after, BATCH - one.after % BATCH) for one in standings]
            for standing, part in zip(standings, await self._read(cursors), strict=True):
                if part:
                    await self._deliver(standing, part)
                else:
                    for viewer in filter(standing.holds, standing.viewers):
                        self._close(viewer, CLOSE_UNKNOWN, "This log is gone.")
        finally:
            for watch in watches:
                if watch.has_behind():
                    self._look(watch)

    def _next(self) -> tuple[list[Watch], list[Standing]]:
        """The streams of this round, and whom to read for. A stream with more numbers than its share comes again."""
        watches: list[Watch] = []
        standings: list[Standing] = []
        share = max(1, CURSORS // len(self._due)) if self._due else 0
        while self._due and len(standings) < CURSORS:
            watch = next(iter(self._due))
            del self._due[watch]
            watches.append(watch)
            most = min(share, CURSORS - len(standings))
            standings += [Standing(watch, after, them, watch.news) for after, them in watch.behind(most).items()]
        if not self._due:
            self._wake.clear()
        return watches, standings

    async def _read(self, cursors: list[Cursor]) -> list[Part | None]:
        return await self._reader.read(cursors) if cursors else []

    async def _deliver(self, standing: Standing, part: Part) -> None:
        """Write what was read to everybody who stands there and move them on."""
        if standing.watch.subject != part.subject:
            self._set_subject(standing.watch, part.subject)
            self.look_at(standing.watch)  # until now, what was told of the subject was not heard
        written, until = _frames(standing.after, part)
        at_end = until >= part.last_seq
        ended = part.state is not None and part.state not in Job.ACTIVE and at_end
        last_words = frames.message(type="end" if ended else "state", state=part.state)
        slice_ends, count = time.monotonic() + SLICE, 0
        for viewer in filter(standing.holds, standing.viewers):  # asked as each one's turn comes
            viewer.after, viewer.heard, viewer.served = until, standing.news if at_end else NEVER, self._round
            words = [last_words] if ended or viewer.state != part.state else []
            viewer.state = part.state
            self._write(viewer, [*written, *words], ended=ended)
            count += 1
            if time.monotonic() > slice_ends:
                await asyncio.sleep(0)
                slice_ends = time.monotonic() + SLICE
        metrics.lines.inc(count * (until - max(part.start, part.first_seq - 1)) if part.rows else 0)
        metrics.frames.inc(count * len(written))

    def _write(self, viewer: LineViewer, written: list[frames.Frame], *, ended: bool) -> None:
        """Write to one viewer. One whose outlet fails is closed alone; its client comes back where it stands."""
        try:
            for frame in written:
                viewer.write(frame)
        except Exception:
            logger.exception("A viewer of stream %s could not be written to.", viewer.watch and viewer.watch.stream)
            self._close(viewer, CLOSE_TRY_AGAIN, "Try again in a moment.")
        else:
            if ended:
                self._close(viewer, CLOSE_DONE)

    def _set_subject(self, watch: Watch, subject: str | None) -> None:
        if watch.subject and (watches := self._subjects.get(watch.subject)):
            watches.discard(watch)
            if not watches:
                del self._subjects[watch.subject]
        watch.subject = subject
        if subject and watch.viewers:
            self._subjects.setdefault(subject, set()).add(watch)

    def _close(self, viewer: LineViewer, code: int, reason: str = "") -> None:
        self.detach(viewer)
        viewer.outlet.close(code, reason)


def _frames(after: int, part: Part) -> tuple[list[frames.Frame], int]:
    """What to write to who stands at `after`, and the number they stand at then."""
    written = []
    first = max(part.start + 1, part.first_seq)
    until = part.until or first - 1
    if part.until is None and until < part.last_seq:  # no row where there should be: nobody waits for it for ever
        first, until = part.last_seq + 1, part.last_seq
    if after >= 0 and first > part.start + 1:
        written.append(frames.message(type="gap", **{"from": part.start + 1, "to": first - 1}))
    if part.rows:
        written.append(frames.lines(part.rows))
    return written, until
