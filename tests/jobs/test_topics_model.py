"""Generated histories of the events socket against a simple model: whoever hears a topic is told of its last change."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from jobs.feed.frames import Frame
from jobs.feed.topics import PERIOD, Topics
from jobs.feed.viewers import TopicViewer
from tests.generated import cases
from tests.jobs.feed_model import Loop

TOPICS = ["server:1", "server:2", "user:1", "servers"]
some_topics = st.frozensets(st.sampled_from(TOPICS))


class Browser:
    """The far end of an outlet. A slow one is full after each frame until it drains; what was written comes anyhow."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.told: dict[str, list[float]] = defaultdict(list)
        self.paused = self.slow = False

    def open(self, on_drain: Callable[[], None]) -> None: ...

    def write(self, frame: Frame) -> None:
        assert not self.paused, "nothing is written to who takes nothing"
        self.told[frame.text.split('"')[-2]].append(self.loop.time())
        self.paused = self.slow

    def close(self, code: int, reason: str = "") -> None: ...

    refuse = close


class EventSockets(RuleBasedStateMachine):
    viewers = Bundle("viewers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.topics = Topics()
        self.browsers: dict[TopicViewer, Browser] = {}
        self.due: dict[tuple[TopicViewer, str], float] = {}  # since when a viewer has something to be told
        self.extra: dict[TopicViewer, int] = defaultdict(int)  # tellings of its own: after a drain or a right gained

    def do(self, call: Callable[..., Any], *given: Any) -> None:
        async def within() -> None:
            call(*given)

        self.loop.run_until_complete(within())

    @rule(target=viewers, topics=some_topics, slow=st.booleans())
    def join(self, topics: frozenset[str], slow: bool) -> TopicViewer:
        browser = Browser(self.loop)
        browser.slow = slow
        viewer = TopicViewer(browser, "", 1)
        self.browsers[viewer] = browser
        self.do(self.topics.attach, viewer, topics)
        return viewer

    @rule(viewer=consumes(viewers))
    def leave(self, viewer: TopicViewer) -> None:
        self.do(self.topics.detach, viewer)
        del self.browsers[viewer]
        self.due = {key: since for key, since in self.due.items() if key[0] is not viewer}

    @rule(viewer=viewers, slow=st.booleans())
    def slow_down_or_speed_up(self, viewer: TopicViewer, slow: bool) -> None:
        self.browsers[viewer].slow = slow

    @rule(viewer=viewers)
    def drain(self, viewer: TopicViewer) -> None:
        browser = self.browsers[viewer]
        if browser.paused:
            browser.paused = False
            self.extra[viewer] += 1
            self.do(self.topics.drained, viewer)

    @rule(viewer=viewers, topics=some_topics)
    def gain_and_lose(self, viewer: TopicViewer, topics: frozenset[str]) -> None:
        for topic in topics - viewer.topics:
            self.due[viewer, topic] = self.loop.time()
        for topic in viewer.topics - topics:
            self.due.pop((viewer, topic), None)
        self.extra[viewer] += 1
        self.do(self.topics.update, viewer, topics)

    @rule(topic=st.sampled_from([*TOPICS, "server:99"]))
    def change(self, topic: str) -> None:
        for viewer in self.browsers:
            if topic in viewer.topics:
                self.due[viewer, topic] = self.loop.time()
        self.do(self.topics.changed, topic)

    @rule()
    def lose_the_listening_connection(self) -> None:
        self.do(self.topics.everything_changed)

    @rule(seconds=st.sampled_from([0.01, 0.1, PERIOD, 0.3, 1]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @invariant()
    def nobody_is_told_of_what_is_not_for_them_or_too_often(self) -> None:
        for viewer, browser in self.browsers.items():
            for times in browser.told.values():
                windows = max((sum(at <= other < at + 1 for other in times) for at in times), default=0)
                assert windows <= 4 + self.extra[viewer]
            assert viewer.missed <= viewer.topics

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        assert len(self.topics._held) <= len(TOPICS)
        heard = {topic for viewer in self.browsers for topic in viewer.topics}
        assert self.topics._viewers.keys() == heard

    def teardown(self) -> None:
        """Once nothing happens any more, who takes anything has been told of the last change of each topic."""
        try:
            self.loop.run_until_complete(asyncio.sleep(3 * PERIOD))
            assert self.topics._held == {}
            for browser in self.browsers.values():
                browser.slow = False
            for viewer, browser in self.browsers.items():
                if not browser.paused:
                    self.assert_told(viewer)
                self.drain(viewer)
                self.assert_told(viewer)
        finally:
            self.loop.close()

    def assert_told(self, viewer: TopicViewer) -> None:
        told = self.browsers[viewer].told
        for topic in viewer.topics:
            since = self.due.get((viewer, topic))
            assert since is None or (told[topic] and told[topic][-1] >= since), f"{topic} was never told"


EventSockets.TestCase.settings = settings(
    max_examples=cases(100, 5000), stateful_step_count=40, deadline=None, print_blob=False
)
TestEventSockets = pytest.mark.soak(EventSockets.TestCase)
