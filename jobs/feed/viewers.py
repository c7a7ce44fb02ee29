"""Who watches what: a viewer stands at a number of a stream, in a group with all others who stand there.

A group is read once and its frame written to each viewer in it, so the database and the encoder work once a number,
not once a viewer. A viewer who does not keep up leaves its group, stays at its number, and comes back when drained.
"""

import time
from collections.abc import Callable
from typing import Protocol

from jobs.feed.frames import Frame


class Outlet(Protocol):
    """The way out to one client, given by the server (`portal/outlet.py`)."""

    paused: bool  # its buffer is full: write nothing until `on_drain` is called

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

    __slots__ = ("after", "group", "state", "watch")

    def __init__(self, outlet: Outlet, credential: str, user_id: int) -> None:
        super().__init__(outlet, credential, user_id)
        self.after = 0
        self.watch: Watch | None = None
        self.group: Group | None = None
        self.state: str | None = None  # of the job, as last written


class TopicViewer(Viewer):
    """Hears which topics changed. `missed` are those to be told once its buffer has drained."""

    __slots__ = ("missed", "topics")

    def __init__(self, outlet: Outlet, credential: str, user_id: int) -> None:
        super().__init__(outlet, credential, user_id)
        self.topics: frozenset[str] = frozenset()
        self.missed: set[str] = set()


class Group:
    """Viewers of one stream who stand at the same number."""

    __slots__ = ("after", "viewers", "watch")

    def __init__(self, watch: "Watch", after: int) -> None:
        self.watch = watch
        self.after = after
        self.viewers: set[LineViewer] = set()


class Watch:
    """A stream somebody watches: what is known of it, and its groups by number."""

    __slots__ = ("groups", "last", "news", "stream", "subject", "viewers")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.last = 0  # highest number heard of
        self.news = 0  # counts wake-ups, so that one which comes while a group is written to is not missed
        self.subject: str | None = None
        self.viewers: set[LineViewer] = set()
        self.groups: dict[int, Group] = {}

    def join(self, viewer: LineViewer) -> Group:
        """Put the viewer into the group at its number."""
        group = self.groups.get(viewer.after)
        if group is None:
            group = self.groups[viewer.after] = Group(self, viewer.after)
        group.viewers.add(viewer)
        viewer.group = group
        return group

    def leave(self, viewer: LineViewer) -> None:
        """Take the viewer out of its group, which ends with its last viewer."""
        if group := viewer.group:
            viewer.group = None
            group.viewers.discard(viewer)
            if not group.viewers and self.groups.get(group.after) is group:
                del self.groups[group.after]

    def settle(self, group: Group) -> Group | None:
        """Put a group that moved back under its number, merged with one already there; None when it is empty."""
        other = self.groups.get(group.after)
        if other is None:
            if group.viewers:
                self.groups[group.after] = group
            return group if group.viewers else None
        for viewer in group.viewers:
            viewer.group = other
        other.viewers |= group.viewers
        return other
