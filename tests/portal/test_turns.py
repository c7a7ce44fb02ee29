"""Turns for requests: nobody waits for all that somebody else sends, and no turn is lost, whoever gives up when."""

import asyncio
import http.client
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from portal import turns
from portal.models import User
from portal.turns import Sender, Turns, sender_of
from tests.jobs.sockets import cookie
from tests.stack import Stack, wait_for

ALICE, BOB = Sender("192.0.2.1", "alice"), Sender("192.0.2.2", "bob")
CHARLIE = Sender(ALICE.address, "charlie")  # behind the same router


class Desk:
    """Requests that end when they are told to, in the order in which they got their turns."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most)
        self.order: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def send(self, sender: Sender, name: str) -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._request(sender, name))
        await asyncio.sleep(0)

    async def _request(self, sender: Sender, name: str) -> None:
        async with self.turns.turn(sender):
            self.order.append(name)
            await self.ends[name].wait()

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def long_young(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "YOUNG", 60)


def test_the_next_turn_is_for_the_address_and_then_the_session_with_the_fewest() -> None:
    async def story() -> None:
        desk = Desk(2)
        for number in range(5):
            await desk.send(ALICE, f"alice {number}")
        await desk.send(CHARLIE, "charlie")
        await desk.send(BOB, "bob 0")
        await desk.send(BOB, "bob 1")
        assert desk.order == ["alice 0", "alice 1"]
        for name in ("alice 0", "alice 1", "bob 0", "alice 2", "bob 1", "charlie", "alice 3", "alice 4"):
            await desk.end(name)
        assert desk.order[2:] == ["bob 0", "alice 2", "bob 1", "charlie", "alice 3", "alice 4"]

    play(story)


def test_a_request_that_takes_long_makes_room_and_ends_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "YOUNG", 0.01)

    async def story() -> None:
        desk = Desk(1)
        for name in ("long", "next", "last"):
            await desk.send(ALICE, name)
        while desk.order != ["long", "next", "last"]:
            await asyncio.sleep(0.01)
        for name in desk.order:
            await desk.end(name)
        assert desk.turns._free == 1

    play(story)


@given(
    st.lists(st.tuples(st.sampled_from(["send", "end", "give up"]), st.integers(0, 99)), max_size=60), st.integers(1, 3)
)
def test_no_turn_is_lost_or_given_twice(steps: list[tuple[str, int]], most: int) -> None:
    async def story() -> None:
        desk, alive = Desk(most), list[str]()
        for count, (step, number) in enumerate(steps):
            if step == "send":
                alive.append(f"request {count}")
                await desk.send((ALICE, BOB, CHARLIE)[number % 3], alive[-1])
            elif alive:
                name = alive.pop(number % len(alive))
                if step == "end":
                    desk.ends[name].set()
                else:
                    desk.tasks[name].cancel()
                if number % 2:  # else more happens before the loop comes to it
                    await asyncio.sleep(0)
            at_work = [name for name in alive if name in desk.order]
            assert len(at_work) <= most
        await asyncio.sleep(0.001)
        assert len([name for name in alive if name in desk.order]) == min(most, len(alive))
        for name in alive:
            desk.ends[name].set()
        for task in desk.tasks.values():
            with suppress(asyncio.CancelledError):
                await task
        assert (desk.turns._free, desk.turns._at_work, desk.turns._waiting) == (most, {}, {})

    play(story)


def test_a_sender_is_known_by_address_and_by_session_or_token() -> None:
    def of(**headers: str) -> Sender:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        return sender_of({"client": ("192.0.2.1", 1234), "headers": encoded})

    assert of() == ("192.0.2.1", "")
    assert of(cookie=f"other=1; {settings.SESSION_COOKIE_NAME}=abc; more=\xff") == ("192.0.2.1", "abc")
    assert of(cookie="nonsense;;=", authorization="Bearer l4m_x") == ("192.0.2.1", "Bearer l4m_x")
    assert sender_of({"client": None, "headers": []}) == ("", "")
    assert sender_of({"client": ("2001:db8:1:2:3::4", 1), "headers": []}) == ("2001:db8:1:2::/64", "")


def test_a_page_waits_for_few_of_those_that_somebody_else_asks_for(stack: Stack, alice: User, bob: User) -> None:
    address = urlsplit(stack.start_web()).netloc
    answered, over = [0] * 60, threading.Event()

    def ask(peer: http.client.HTTPConnection, session: str) -> None:
        headers = {"Host": "localhost", "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"}
        peer.request("GET", "/", headers=headers)
        answer = peer.getresponse()
        answer.read()
        assert answer.status == 200

    def reload(number: int, session: str) -> None:
        peer = http.client.HTTPConnection(address, timeout=60)
        while not over.is_set():
            ask(peer, session)
            answered[number] += 1

    hers, his = cookie(alice), cookie(bob)
    threads = [threading.Thread(target=reload, args=[number, hers], daemon=True) for number in range(len(answered))]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(answered), seconds=60, what="an answer on each of Alice's connections")
    peer, between = http.client.HTTPConnection(address, timeout=60), []
    for _ in range(10):
        before = sum(answered)
        ask(peer, his)
        between.append(sum(answered) - before)
    over.set()
    for thread in threads:
        thread.join(60)
    assert max(between) < len(answered) / 2, between
