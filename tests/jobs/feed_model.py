"""What the feed's state machine runs on: a clock that is moved by hand, a database in memory, and viewers who check.

`Database` answers as `jobs.feed.database.Reader` does (test_feed_model holds it to the real one), but only when it is
told to: whatever happens between a question, its snapshot and its answer is the test's choice.
"""

import asyncio
import json
import selectors
from collections import defaultdict
from typing import Any

import psycopg

from jobs.feed.database import Cursor, Part
from jobs.feed.frames import Frame
from jobs.feed.viewers import LineViewer


class _Clock(selectors.DefaultSelector):
    """Waits for nobody: time goes on by as much as was to be waited for."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(timeout or 0, 0)
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop in a time of its own."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def turn(self, times: int = 1) -> None:
        """Run what is ready now, `times` over; when nothing is, time moves on to what is next."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def skip(self, seconds: float) -> None:
        """Let so much time go by."""
        self.run_until_complete(asyncio.sleep(seconds))


class Rows:
    """A stream's rows."""

    def __init__(self) -> None:
        self.first, self.last = 1, 0
        self.state: str | None = None


class Database:
    """Streams by number, and the questions that wait for an answer."""

    def __init__(self) -> None:
        self.streams: dict[int, Rows] = defaultdict(Rows)
        self.reads = 0
        self.asked: asyncio.Future[None] | None = None
        self.taken: list[Part | None] | None = None
        self._cursors: list[Cursor] = []

    async def read(self, cursors: list[Cursor]) -> list[Part | None]:
        """See `Reader.read`."""
        assert self.asked is None, "the feed asks one question at a time"
        assert cursors, "it asks for nothing"
        self.reads += 1
        self.asked, self.taken, self._cursors = asyncio.get_running_loop().create_future(), None, list(cursors)
        try:
            await self.asked
        finally:
            self.asked = None
        assert self.taken is not None
        return self.taken

    def snapshot(self) -> None:
        """Take what the open question will be answered with."""
        if self.asked and self.taken is None:
            self.taken = [self.part(cursor) for cursor in self._cursors]

    def answer(self) -> None:
        self.snapshot()
        if self.asked and not self.asked.done():
            self.asked.set_result(None)

    def fail(self) -> None:
        if self.asked and not self.asked.done():
            self.asked.set_exception(psycopg.OperationalError("the connection was lost"))

    def part(self, cursor: Cursor) -> Part | None:
        """What PostgreSQL would find."""
        if cursor.stream not in self.streams:
            return None
        rows = self.streams[cursor.stream]
        start = max(rows.last + cursor.after, rows.first - 1) if cursor.after < 0 else min(cursor.after, rows.last)
        first = max(start + 1, rows.first)
        numbers = range(first, min(rows.last, first + cursor.most - 1) + 1)
        written = ",".join(f'[{number},0,"{cursor.stream}:{number}"]' for number in numbers)
        until = numbers[-1] if numbers else None
        return Part(rows.first, rows.last, start, rows.state, f"job:{cursor.stream}", until, written or None)


class Client:
    """An outlet with a buffer of `room` frames, whose reader notes what it got and, in `wrong`, what it should not."""

    def __init__(self, stream: int, after: int, rows: Rows) -> None:
        self.viewer = LineViewer(self, "", 0)
        self.stream, self.asked, self.rows, self.last_at_join = stream, after, rows, rows.last
        self.room: int | None = None  # None: it reads as fast as it is written to
        self.paused = False
        self.over = 0  # frames written since it takes nothing
        self.wrong: list[str] = []
        self.at: int | None = None  # the number read last
        self.states: list[str | None] = []
        self.closed: int | None = None

    def open(self, on_drain: Any) -> None:
        """Drained by the test."""

    def write(self, frame: Frame) -> None:
        self.over = self.over + 1 if self.paused else 0
        if self.room is not None:
            self.room -= 1
            self.paused = self.room <= 0
        try:
            assert self.closed is None, "written to after it was closed"
            assert self.over < 3, "written to while it takes nothing: more than the frames of one read"
            self._take(json.loads(frame.text))
        except AssertionError as error:
            self.wrong.append(str(error))

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is not None:
            self.wrong.append("closed twice")
        self.closed = code

    refuse = close

    def drain(self, room: int | None) -> None:
        self.paused, self.room, self.over = False, room, 0

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "lines", "lines": lines}:
                numbers = [seq for seq, _, _ in lines]
                assert numbers == list(range(numbers[0], numbers[-1] + 1)), "lines of a frame follow each other"
                assert all(text == f"{self.stream}:{seq}" for seq, _, text in lines), "lines are its stream's"
                self._go_on(numbers[0], numbers[-1])
            case {"type": "gap", "from": first, "to": last}:
                self._go_on(first, last)
            case {"type": "state" | "end", "state": state}:
                is_new = not self.states or self.states[-1] != state
                assert is_new or message["type"] == "end", f"told {state} twice"
                self.states.append(state)

    def _go_on(self, first: int, last: int) -> None:
        if self.at is not None:
            assert first == self.at + 1, f"{first} came after {self.at}"
        elif self.asked < 0:
            newest = self.last_at_join + self.asked + 1, max(self.rows.last + self.asked + 1, self.rows.first)
            assert newest[0] <= first <= newest[1], f"began with {first}, the newest begin within {newest}"
        else:
            # Who asks for more than there is gets what comes.
            assert min(self.asked, self.last_at_join) < first <= self.asked + 1, f"began with {first}"
            assert first == self.asked + 1 or self.asked > self.last_at_join, f"began with {first}"
        assert last >= first
        self.at = last

    def has_all(self) -> bool:
        """Whether it has everything up to the stream's end."""
        if self.at is not None:
            return self.at >= self.rows.last
        return self.rows.last <= max(self.asked, 0) or (self.asked < 0 and self.rows.first > self.rows.last)
