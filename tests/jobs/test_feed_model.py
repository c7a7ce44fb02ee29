"""The feed's tail against a simple model: whatever happens in whatever order, nobody is left behind in silence."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobs import streams
from jobs.feed import tail
from jobs.feed.database import Cursor, Part, Reader
from jobs.feed.tail import Tail
from jobs.models import Job, Line, Stream
from tests.generated import cases
from tests.jobs.feed_model import Client, Database, Loop

pytestmark = pytest.mark.soak
STREAMS = st.integers(1, 3)
INDEX = st.integers(0, 7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Feed(RuleBasedStateMachine):
    """Small numbers, so that viewers meet often: frames of 4 lines, 2 numbers a query, a pause after each write."""

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)  # reads fail thousands of times
        self.patch = pytest.MonkeyPatch()
        self.loop = Loop()
        clock = SimpleNamespace(monotonic=self.loop.time)
        for name, value in {"BATCH": 4, "CURSORS": 2, "SLICE": -1, "time": clock}.items():
            self.patch.setattr(tail, name, value)
        self.database = Database()
        self.clients: list[Client] = []
        self.told: list[tuple[int, int]] = []  # wake-ups under way
        self.missed = False  # a wake-up was lost
        for stream in (1, 2, 3):
            self.database.streams[stream].last = 0
        self.loop.run_until_complete(self._start())

    async def _start(self) -> None:
        self.tail: Any = Tail()
        self.tail._reader = self.database
        self.running = asyncio.create_task(self.tail.run())

    def teardown(self) -> None:
        try:
            self.settle()
            for client in self.clients:
                self._drain(client)
            self.settle()
        finally:
            self.running.cancel()
            self.loop.run_until_complete(asyncio.gather(self.running, return_exceptions=True))
            self.loop.close()
            self.patch.undo()
            logging.disable(logging.NOTSET)

    # Viewers.

    @precondition(lambda self: len(self.clients) < 8)
    @rule(stream=STREAMS, after=st.integers(-6, 14), room=st.none() | st.integers(1, 3))
    def join(self, stream: int, after: int, room: int | None) -> None:
        client = Client(stream, after, self.database.streams[stream])
        client.room = room
        self.clients.append(client)
        self.tail.attach(client.viewer, stream, after)

    @rule(stream=STREAMS)
    def join_at_the_end(self, stream: int) -> None:
        if len(self.clients) < 8:
            self.join(stream, self.database.streams[stream].last, None)

    @precondition(lambda self: self.clients)
    @rule(index=INDEX)
    def leave(self, index: int) -> None:
        client = self.clients.pop(index % len(self.clients))
        self.tail.detach(client.viewer)

    @precondition(lambda self: self.clients)
    @rule(index=INDEX, room=st.none() | st.integers(1, 3))
    def drain(self, index: int, room: int | None) -> None:
        self._drain(self.clients[index % len(self.clients)], room)

    def _drain(self, client: Client, room: int | None = None) -> None:
        was_paused = client.paused
        client.drain(room)
        if was_paused:
            self.tail.drained(client.viewer)

    # The database.

    @rule(stream=STREAMS, count=st.integers(1, 9), how=st.sampled_from(["now", "later", "twice", "lost"]))
    def append(self, stream: int, count: int, how: str) -> None:
        rows = self.database.streams[stream]
        if rows.state not in (None, *Job.ACTIVE):
            return
        rows.last += count
        if how == "lost":
            self.missed = True
        elif how == "later":
            self.told.append((stream, rows.last))
        else:
            for _ in range(1 + (how == "twice")):
                self.tail.told(stream, rows.last)

    @precondition(lambda self: self.told)
    @rule(index=INDEX)
    def notify(self, index: int) -> None:
        self.tail.told(*self.told.pop(index % len(self.told)))

    @rule(stream=STREAMS, up_to=st.integers(1, 20))
    def trim(self, stream: int, up_to: int) -> None:
        rows = self.database.streams[stream]
        rows.first = max(rows.first, min(up_to, rows.last + 1))

    @rule(stream=STREAMS, state=st.sampled_from([*Job.ACTIVE, "succeeded"]))
    def change_job(self, stream: int, state: str) -> None:
        rows = self.database.streams[stream]
        if stream == 1 or rows.state == "succeeded":
            return  # the first is a console
        rows.state = state
        self.tail.changed(f"job:{stream}")

    @rule()
    def take_a_snapshot(self) -> None:
        self.database.snapshot()

    @rule()
    def answer(self) -> None:
        self.database.answer()

    @rule()
    def fail(self) -> None:
        self.database.fail()

    # Time.

    @rule(times=st.integers(1, 4))
    def turn(self, times: int) -> None:
        self.loop.turn(times)

    @rule()
    def answer_and_turn(self) -> None:
        self.database.answer()
        self.loop.turn(3)

    @rule()
    def skip(self) -> None:
        self.loop.skip(0.03)

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert not self.running.done()
        assert [client.wrong for client in self.clients if client.wrong] == []

    @rule()
    def settle(self) -> None:
        """Nothing more happens in the database: everybody who takes anything has everything."""
        for stream, last in self.told:
            self.tail.told(stream, last)
        self.told = []
        if self.missed:  # as the feed does twice a minute, and after each lost connection
            self.tail.look_everywhere()
            self.missed = False
        before = self.database.reads
        silent = 0
        while silent < 3:  # longer than it ever waits after a failure
            silent = 0 if self.database.asked else silent + 1
            while self.database.asked:
                self.database.answer()
                self.loop.turn(20)
                assert self.database.reads - before < 300, "it reads on without end"
            self.loop.skip(2.5)
        for client in self.clients:
            rows = self.database.streams[client.stream]
            if not client.paused and client.closed is None:
                assert client.has_all(), f"at {client.at} of {rows.last}"
                assert rows.state in (None, *Job.ACTIVE), "the end was not told"
                assert (client.states or [None])[-1] == rows.state
            elif client.closed is not None:
                assert client.closed == 1000 and client.states[-1] == rows.state == "succeeded"
                assert client.has_all() or client.paused


TestFeed = Feed.TestCase
TestFeed.settings = settings(
    max_examples=cases(500, 6000),
    stateful_step_count=40,
    report_multiple_bugs=False,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@given(
    lines=st.integers(0, 12),
    first=st.integers(1, 13),
    cursors=st.lists(st.tuples(st.integers(-15, 15), st.integers(1, 6)), min_size=1, max_size=6),
)
@settings(max_examples=cases(60, 2000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.django_db(transaction=True)
def test_the_model_answers_as_postgresql_does(lines: int, first: int, cursors: list[tuple[int, int]]) -> None:
    stream = Stream.objects.create()
    streams.append(stream.pk, [f"{stream.pk}:{number}" for number in range(1, lines + 1)], at=EPOCH)
    Line.objects.filter(stream=stream, seq__lt=min(first, lines + 1)).delete()
    Stream.objects.filter(pk=stream.pk).update(first_seq=min(first, lines + 1))
    model = Database()
    model.streams[stream.pk].first, model.streams[stream.pk].last = min(first, lines + 1), lines
    asked = [Cursor(stream.pk, after, most) for after, most in cursors]

    async def read() -> list[Part | None]:
        reader = Reader()
        try:
            return await reader.read([*asked, Cursor(stream.pk + 1, 0, 1)])
        finally:
            if reader._connection:
                await reader._connection.close()

    *found, nothing = asyncio.run(read())
    assert nothing is None
    assert found == [replace(model.part(cursor), subject=None) for cursor in asked]
