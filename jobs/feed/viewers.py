"""Who watches what: a viewer stands at a number of a stream, and is behind until a read has found nothing above it.

Where a viewer stands is in the viewer alone. Whom to read for, and who stands together, is worked out from that when
it is needed and kept nowhere, so that nothing can come to disagree with it.
"""

import time
from collections.abc import Callable
from typing import Protocol

from jobs.feed.frames import Frame

NEVER = -1  # what a viewer has `heard` that was not yet shown everything


class Outlet(Protocol):
    """The way out to one client, given by the server (`portal/outlet.py`)."""

    paused: bool  # its buffer is full: write nothing until `on_drain` is called
    beats: bool  # send {"type":"beat"} now and then, for a client that cannot see pings

    def open(self, on_drain: Callable[[], None]) -> None: ...

    def write(self, frame: Frame) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...

    def refuse(self, code: int, reason: str = "") -> None:
        """Close, and read no more of what the client sends."""


class Viewer:
    """One socket."""

    __slots__ = ("credential", "outlet", "paused_at", "user_id")

    def __init__(self, outlet: Outlet, credential: str, user_id: int) -> None:
        self.outlet = outlet
        self.credential = credential
        self.user_id = user_id
        self.paused_at: float | None = None  # since when it takes nothing, by time.monotonic

    def write(self, frame: Frame) -> None:
        self.outlet.write(frame)
        if self.outlet.paused and self.paused_at is None:
            self.paused_at = time.monotonic()


class LineViewer(Viewer):
    """Watches a stream. `after` is the number of the last line written to it."""

    __slots__ = ("after", "heard", "served", "state", "stuck", "watch")

    def __init__(self, outlet: Outlet, credential: str, user_id: int) -> None:
        super().__init__(outlet, credential, user_id)
        self.after = 0
        self.watch: Watch | None = None
        self.heard = NEVER  # the watch's news that it has been shown all of
        self.served = 0  # the round in which it was last written to
        self.state: str | None = None  # of the job, as last written
        self.stuck: tuple[int, float] | None = None  # behind at this number since then (jobs/feed/watchdog.py)


class TopicViewer(Viewer):
    """Hears which topics changed. `missed` are those to be told once its buffer has drained."""

    __slots__ = ("missed", "topics")

    def __init__(self, outlet: Outlet, credential: str, user_id: int) -> None:
        super().__init__(outlet, credential, user_id)
        self.topics: frozenset[str] = frozenset()
        self.missed: set[str] = set()


class Watch:
    """A stream somebody watches: what is known of it, and its viewers."""

    __slots__ = ("news", "stream", "subject", "viewers")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.news = 0  # counts wake-ups: whoever has not `heard` the latest is behind
        self.subject: str | None = None
        self.viewers: dict[LineViewer, None] = {}  # in the order they came

    def has_behind(self) -> bool:
        """Whether there is anybody to read for."""
        return any(viewer.heard != self.news and viewer.paused_at is None for viewer in self.viewers)

    def behind(self, most: int) -> dict[int, list[LineViewer]]:
        """Whom to read for, by the number they stand at: at most so many numbers, those that waited longest."""
        found: dict[int, list[LineViewer]] = {}
        for viewer in self.viewers:
            if viewer.heard != self.news and viewer.paused_at is None:
                found.setdefault(viewer.after, []).append(viewer)
        if len(found) <= most:
            return found
        waited = sorted(found.items(), key=lambda standing: min(viewer.served for viewer in standing[1]))
        return dict(waited[:most])
