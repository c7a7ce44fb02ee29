"""The feed: one per web process, between the streams' table and every socket of that process.

Wake-ups come in through `database.listen`; lines go out through `tail`, changed topics through `topics`; `gate` lets
viewers in, and throws them out when a right is taken away.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from functools import cache
from hashlib import sha256
from typing import Any

from jobs.feed import database, metrics
from jobs.feed.gate import CLOSE_TRY_LATER, Gate, Limits
from jobs.feed.tail import Tail
from jobs.feed.topics import Topics
from jobs.feed.viewers import LineViewer, TopicViewer, Viewer
from jobs.feed.watchdog import Watchdog
from jobs.policy import CLOSE_FORBIDDEN, Asked, Verdict

logger = logging.getLogger(__name__)

CLOSE_TOO_SLOW = 4408
SLOW_SECONDS = int(os.environ.get("LEFT4ME_SLOW_SECONDS", "60"))  # without draining its buffer
RETRY_SECONDS = 1  # until whoever could not be asked about is asked about again
RECHECK_SECONDS = 30  # everybody's access, and every stream in case a wake-up was missed
TICK_SECONDS = 2


class Feed:
    """Everything that watches, in this process."""

    def __init__(self) -> None:
        self.tail = Tail()
        self.topics = Topics()
        self.gate = Gate()
        self.limits = Limits()
        self.viewers: set[Viewer] = set()
        self.access_news = 0  # counts wake-ups that may have taken a right away
        self._doubted: dict[Viewer, bool] = {}  # whom to ask about again, and whether about topics too
        self._doubt = asyncio.Event()
        watchdog = Watchdog(self.tail)
        jobs = (self.tail.run, self.gate.run, watchdog.run, self._recheck, self._tick, self._listen)
        self._tasks = [asyncio.create_task(_keep(job), name=f"feed {job.__name__}") for job in jobs]

    async def _listen(self) -> None:
        await database.listen(told=self.tail.told, changed=self._changed, regained=self._regained)

    # Coming and going.

    def attach(self, viewer: Viewer, verdict: Verdict, *, stream: int | None, after: int, heard: int) -> None:
        """Start showing: lines of `stream` above `after`, or without a stream the topics of the verdict.

        `heard`: `access_news` before the verdict was asked for; a right taken away since is looked at again.
        """
        self.viewers.add(viewer)
        if heard != self.access_news:
            self._doubted[viewer] = True
            self._doubt.set()
        viewer.outlet.open(lambda: self._drained(viewer))
        if isinstance(viewer, LineViewer):
            assert stream is not None
            self.tail.attach(viewer, stream, after)
        elif isinstance(viewer, TopicViewer):
            self.topics.attach(viewer, verdict.topics or frozenset())

    def detach(self, viewer: Viewer) -> None:
        """Stop showing; twice does no harm."""
        self.viewers.discard(viewer)
        self._doubted.pop(viewer, None)
        if isinstance(viewer, LineViewer):
            self.tail.detach(viewer)
        elif isinstance(viewer, TopicViewer):
            self.topics.detach(viewer)

    def _close(self, viewer: Viewer, code: int, reason: str) -> None:
        self.detach(viewer)
        viewer.outlet.close(code, reason)

    def _drained(self, viewer: Viewer) -> None:
        if viewer not in self.viewers:
            return
        if isinstance(viewer, LineViewer):
            self.tail.drained(viewer)
        elif isinstance(viewer, TopicViewer):
            self.topics.drained(viewer)

    # What the database tells.

    def _changed(self, topic: str) -> None:
        self.tail.changed(topic)
        self.topics.changed(topic)
        kind, _, rest = topic.partition(":")
        self.access_news += kind in ("user", "access")
        if kind == "user":
            self._question(lambda viewer: isinstance(viewer, TopicViewer) and rest == str(viewer.user_id))
        elif kind == "access":
            what, _, key = rest.partition(":")
            self._question(_doubts(what, key))

    def _regained(self) -> None:
        self.tail.look_everywhere()
        self.topics.everything_changed()
        self.access_news += 1
        self._question(lambda viewer: True)

    # Access, asked again.

    def _question(self, doubtful: Callable[[Viewer], bool], *, topics: bool = True) -> None:
        """Ask again about those viewers; of `topics` only when they may have changed, which costs queries a user."""
        for viewer in filter(doubtful, self.viewers):
            self._doubted[viewer] = topics or self._doubted.get(viewer, False)
        if self._doubted:
            self._doubt.set()

    async def _recheck(self) -> None:
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            doubted, self._doubted = self._doubted, {}
            asked = {viewer: _asked(viewer, topics=topics) for viewer, topics in doubted.items()}
            verdicts = await asyncio.gather(*map(self.gate.ask, dict.fromkeys(asked.values())))
            answers = dict(zip(dict.fromkeys(asked.values()), verdicts, strict=True))
            for viewer, question in asked.items():
                if viewer in self.viewers:
                    self._apply(viewer, question, answers[question])
            if any(verdict.code == CLOSE_TRY_LATER for verdict in verdicts):
                await asyncio.sleep(RETRY_SECONDS)
                self._doubt.set()

    def _apply(self, viewer: Viewer, question: Asked, verdict: Verdict) -> None:
        if verdict.code == CLOSE_TRY_LATER:  # the database did not answer: what was allowed stays so until it does
            self._doubted[viewer] = question.wants_topics or self._doubted.get(viewer, False)
        elif verdict.code or verdict.user_id != viewer.user_id:
            self._close(viewer, verdict.code or CLOSE_FORBIDDEN, "You may no longer view this.")
        elif isinstance(viewer, TopicViewer) and verdict.topics is not None:
            self.topics.update(viewer, verdict.topics)

    async def _tick(self) -> None:
        checked = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            for viewer in [one for one in self.viewers if one.paused_at and now - one.paused_at > SLOW_SECONDS]:
                metrics.slow.inc()
                self._close(viewer, CLOSE_TOO_SLOW, "This connection did not keep up.")
            if now - checked > RECHECK_SECONDS:
                checked = now
                self.tail.look_everywhere()
                self._question(lambda viewer: True, topics=False)
            for kind in (LineViewer, TopicViewer):
                metrics.viewers.labels(kind.__name__).set(sum(isinstance(one, kind) for one in self.viewers))


def _asked(viewer: Viewer, *, topics: bool) -> Asked:
    if isinstance(viewer, LineViewer) and viewer.watch:
        return Asked(viewer.credential, viewer.watch.stream)
    return Asked(viewer.credential, None, topics)


def _doubts(what: str, key: str) -> Callable[[Viewer], bool]:
    """Whom an `access:WHAT:KEY` event may concern: one user, one session, or for anything else everybody."""
    if what == "user":
        return lambda viewer: key == str(viewer.user_id)
    if what == "session":
        return lambda viewer: sha256(viewer.credential.removeprefix("session:").encode()).hexdigest() == key
    return lambda viewer: True


async def _keep(job: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a task of the feed for as long as the process lives; a mistake in it must not silence every socket."""
    while True:
        try:
            await job()
        except Exception:
            logger.exception("A task of the feed failed and starts again.")
            await asyncio.sleep(1)


@cache
def get_feed() -> Feed:
    """This process' feed, started at its first use. Call it on the event loop."""
    return Feed()
