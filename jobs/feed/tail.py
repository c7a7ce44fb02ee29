"""Follows streams for all viewers of this process: one loop reads for every group that is behind, then writes.

Whoever is behind, for whatever reason (new, resumed, slow, or simply a new line), is a group with a number below its
stream's last, and is served the same way. Frames end at fixed numbers where more is to come, so that groups which
catch up meet and go on as one.
"""

import asyncio
import itertools
import logging
import time

import psycopg

from jobs.feed import frames, metrics
from jobs.feed.database import Cursor, Part, Reader, delay
from jobs.feed.viewers import Group, LineViewer, Watch
from jobs.models import Job

logger = logging.getLogger(__name__)

BATCH = 500  # lines a frame, and the step at which groups that catch up meet
CURSORS = 64  # groups a query
LEAST_PERIOD = 0.02  # seconds from query to query, so their rate is bounded whatever goes on
SLICE = 0.01  # seconds of writing before other work of the process gets its turn
CLOSE_DONE, CLOSE_UNKNOWN = 1000, 4404


class Tail:
    """All watched streams of this process."""

    def __init__(self) -> None:
        self.watches: dict[int, Watch] = {}
        self._subjects: dict[str, set[Watch]] = {}
        self._behind: dict[Group, None] = {}  # an ordered set: groups to read for, longest wait first
        self._wake = asyncio.Event()
        self._reader = Reader()

    # What the feed is told.

    def attach(self, viewer: LineViewer, stream: int, after: int) -> None:
        """Show `viewer` the lines above `after`, or the newest `-after`."""
        watch = self.watches.setdefault(stream, Watch(stream))
        viewer.watch, viewer.after = watch, after
        watch.viewers.add(viewer)
        self._look(watch.join(viewer))

    def detach(self, viewer: LineViewer) -> None:
        """Forget the viewer; its stream too when it was the last."""
        if (watch := viewer.watch) is None:
            return
        watch.leave(viewer)
        watch.viewers.discard(viewer)
        viewer.watch = None
        if not watch.viewers:
            self.watches.pop(watch.stream, None)
            self._set_subject(watch, None)

    def told(self, stream: int, last: int) -> None:
        """The stream has lines up to `last`."""
        if (watch := self.watches.get(stream)) and last > watch.last:
            watch.last = last
            self._look_at(watch)

    def changed(self, topic: str) -> None:
        """Something about a subject changed: perhaps the state of a job that is watched."""
        for watch in self._subjects.get(topic, ()):
            self._look_at(watch)

    def look_everywhere(self) -> None:
        """Wake-ups may have been missed: read again for everybody."""
        for watch in self.watches.values():
            self._look_at(watch)

    def drained(self, viewer: LineViewer) -> None:
        """A slow viewer's buffer is empty again: it reads on from its number."""
        viewer.paused_at = None
        if viewer.watch and not viewer.group:
            self._look(viewer.watch.join(viewer))

    def _look_at(self, watch: Watch) -> None:
        watch.news += 1
        self._look(*watch.groups.values())

    def _look(self, *groups: Group) -> None:
        self._behind.update(dict.fromkeys(groups))
        self._wake.set()

    # The loop.

    async def run(self) -> None:
        """Serve for ever."""
        failures = 0
        while True:
            await self._wake.wait()
            started = time.monotonic()
            groups = self._next_groups()
            try:
                await self._serve(groups)
                failures = 0
            except psycopg.Error as error:
                logger.warning("The feed could not read and tries again: %s", error)
                self._look(*groups)
                await asyncio.sleep(delay(failures))
                failures += 1
            await asyncio.sleep(max(0, started + LEAST_PERIOD - time.monotonic()))

    def _next_groups(self) -> list[Group]:
        groups = list(itertools.islice(self._behind, CURSORS))
        for group in groups:
            del self._behind[group]
        if not self._behind:
            self._wake.clear()
        return [group for group in groups if group.viewers]

    async def _serve(self, groups: list[Group]) -> None:
        if not groups:
            return
        cursors = [Cursor(group.watch.stream, group.after, BATCH - group.after % BATCH) for group in groups]
        news = [group.watch.news for group in groups]
        for group, part, heard in zip(groups, await self._reader.read(cursors), news, strict=True):
            if part is None:
                self._close_all(group, CLOSE_UNKNOWN, "This log is gone.")
            elif group.viewers:
                await self._deliver(group, part)
                settled = group.watch.settle(group)
                if settled and (group.after < part.last_seq or group.watch.news > heard):
                    self._look(settled)

    async def _deliver(self, group: Group, part: Part) -> None:
        """Write what was read to everybody in the group and move the group on."""
        self._learn(group.watch, part)
        written = self._frames(group.after, part)
        del group.watch.groups[group.after]  # who joins at this number from here on has a read of its own
        group.after = part.until or max(part.start, part.first_seq - 1)
        ended = part.state is not None and part.state not in Job.ACTIVE and group.after >= part.last_seq
        await self._write(group, written, part.state, ended=ended)
        sent = part.until - max(part.start, part.first_seq - 1) if part.until else 0
        metrics.lines.inc(sent * len(group.viewers))
        metrics.frames.inc(len(written) * len(group.viewers))

    @staticmethod
    def _frames(after: int, part: Part) -> list[frames.Frame]:
        written = []
        first = max(part.start + 1, part.first_seq)
        if after >= 0 and first > part.start + 1:
            written.append(frames.message(type="gap", **{"from": part.start + 1, "to": first - 1}))
        if part.rows:
            written.append(frames.lines(part.rows))
        return written

    async def _write(self, group: Group, written: list[frames.Frame], state: str | None, *, ended: bool) -> None:
        """Write frames, and the job's state to whom it is new; gives way to other work every `SLICE`."""
        last_words = frames.message(type="end" if ended else "state", state=state)
        slice_ends = time.monotonic() + SLICE
        for viewer in list(group.viewers):
            if viewer.group is not group:
                continue  # it left while others were written to
            viewer.after = group.after
            for frame in written:
                viewer.write(frame)
            if ended or viewer.state != state:
                viewer.state = state
                viewer.write(last_words)
            if ended:
                self.detach(viewer)
                viewer.outlet.close(CLOSE_DONE)
            elif viewer.paused_at is not None:
                group.watch.leave(viewer)
            if time.monotonic() > slice_ends:
                await asyncio.sleep(0)
                slice_ends = time.monotonic() + SLICE

    def _learn(self, watch: Watch, part: Part) -> None:
        watch.last = max(watch.last, part.last_seq)
        if watch.subject != part.subject:
            self._set_subject(watch, part.subject)

    def _set_subject(self, watch: Watch, subject: str | None) -> None:
        if watch.subject and (watches := self._subjects.get(watch.subject)):
            watches.discard(watch)
            if not watches:
                del self._subjects[watch.subject]
        watch.subject = subject
        if subject and watch.viewers:
            self._subjects.setdefault(subject, set()).add(watch)

    def _close_all(self, group: Group, code: int, reason: str) -> None:
        for viewer in list(group.viewers):
            self.detach(viewer)
            viewer.outlet.close(code, reason)
