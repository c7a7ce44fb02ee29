"""Tells viewers which topics changed, each topic at most four times a second and encoded once for all."""

import asyncio
from collections.abc import Set as AbstractSet

from jobs.feed import frames, metrics
from jobs.feed.viewers import TopicViewer

PERIOD = 0.25  # seconds from one telling of a topic to the next


class Topics:
    """All viewers of `/ws/events/` in this process."""

    def __init__(self) -> None:
        self._viewers: dict[str, set[TopicViewer]] = {}
        self._held: dict[str, bool] = {}  # topics told within the last PERIOD: whether they changed again since

    def attach(self, viewer: TopicViewer, topics: AbstractSet[str]) -> None:
        """Let `viewer` hear `topics` from now on."""
        self._move(viewer, frozenset(topics))

    def detach(self, viewer: TopicViewer) -> None:
        self._move(viewer, frozenset())

    def update(self, viewer: TopicViewer, topics: AbstractSet[str]) -> None:
        """Replace what `viewer` hears, and tell it what is new to it: it may have changed unheard."""
        gained = self._move(viewer, frozenset(topics))
        viewer.missed &= topics
        for topic in sorted(gained):
            self._tell(viewer, topic, frames.message(type="changed", topic=topic))

    def _move(self, viewer: TopicViewer, topics: frozenset[str]) -> frozenset[str]:
        for topic in viewer.topics - topics:
            self._viewers[topic].discard(viewer)
            if not self._viewers[topic]:
                del self._viewers[topic]
        gained = topics - viewer.topics
        for topic in gained:
            self._viewers.setdefault(topic, set()).add(viewer)
        viewer.topics = topics
        return gained

    def changed(self, topic: str) -> None:
        """Tell it at once, or when the period since it was last told is over."""
        if topic in self._held:
            self._held[topic] = True
        elif viewers := self._viewers.get(topic):
            self._held[topic] = False
            asyncio.get_running_loop().call_later(PERIOD, self._release, topic)
            frame = frames.message(type="changed", topic=topic)
            for viewer in viewers:
                self._tell(viewer, topic, frame)

    def everything_changed(self) -> None:
        """Wake-ups may have been missed: tell every topic."""
        for topic in list(self._viewers):
            self.changed(topic)

    def _release(self, topic: str) -> None:
        if self._held.pop(topic):
            self.changed(topic)

    def _tell(self, viewer: TopicViewer, topic: str, frame: frames.Frame) -> None:
        if viewer.paused_at is None:
            viewer.write(frame)
            metrics.frames.inc()
        else:
            viewer.missed.add(topic)

    def drained(self, viewer: TopicViewer) -> None:
        """Tell a slow viewer what it missed."""
        viewer.paused_at = None
        missed, viewer.missed = viewer.missed, set()
        for topic in sorted(missed):
            self._tell(viewer, topic, frames.message(type="changed", topic=topic))
