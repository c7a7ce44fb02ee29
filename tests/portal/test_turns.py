"""Turns for requests: nobody waits for all that somebody else sends, and no turn is lost, whoever gives up when."""

import asyncio
import http.client
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.test import Client, override_settings
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from jobs.pauses import pause
from portal import turns
from portal.hashing import OneAtATime
from portal.models import User
from portal.tokens import create_token
from portal.turns import Members, Sender, Turns, sender_of
from tests.jobs.sockets import cookie
from tests.stack import Stack, wait_for

ALICE, BOB = Sender("192.0.2.1", "alice"), Sender("192.0.2.2", "bob")
CHARLIE = Sender(ALICE.address, "charlie")  # behind the same router


class Desk:
    """Requests that end when they are told to, in the order in which they got their turns."""

    def __init__(self, most: int, *, of_one: int = 0, of_visitors: int = 0, longest: float | None = None) -> None:
        self.turns = Turns(most, of_one=of_one or most, of_visitors=of_visitors or most, longest=longest)
        self.order: list[str] = []
        self.ended: list[str] = []
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
        self.ended.append(name)
        self.ends[name].set()
        await self.tasks[name]
        await asyncio.sleep(0)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))  # type: ignore[arg-type]


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


def test_a_member_with_many_addresses_and_visitors_with_more_leave_turns_to_others() -> None:
    async def story() -> None:
        desk = Desk(4, of_one=3, of_visitors=2)
        for number in range(9):
            await desk.send(Sender(f"198.51.100.{number}", ""), f"visitor {number}")
            await desk.send(Sender(f"203.0.113.{number}", "member 1", is_member=True), f"member {number}")
        assert desk.order == ["visitor 0", "member 0", "visitor 1", "member 1"]
        await desk.end("visitor 0")
        await desk.end("visitor 1")
        assert desk.order[4:] == ["visitor 2", "visitor 3"], "of those at work, the member has two already"
        await desk.send(Sender(BOB.address, "member 2", is_member=True), "bob")
        await desk.end("visitor 2")
        await desk.end("member 0")
        assert desk.order[6:] == ["visitor 4", "bob"], "at most two visitors"
        for name in ("bob", "visitor 3", "visitor 4"):
            await desk.end(name)
        assert [name for name in desk.order[8:] if name.startswith("member")] == ["member 2"]
        assert len([one for one in desk.order if one not in desk.ended]) == 4

    play(story)


def test_a_request_that_takes_long_makes_room_and_ends_without_harm() -> None:
    async def story() -> None:
        desk = Desk(1, longest=0.01)
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

    assert of() == Sender("192.0.2.1", "")
    assert of(cookie=f"other=1; {settings.SESSION_COOKIE_NAME}=abc; more=\xff") == Sender("192.0.2.1", "abc")
    assert of(cookie="nonsense;;=", authorization="Bearer l4m_x") == Sender("192.0.2.1", "Bearer l4m_x")
    assert sender_of({"client": None, "headers": []}) == Sender("", "")
    assert sender_of({"client": ("2001:db8:1:2:3::4", 1), "headers": []}) == Sender("2001:db8:1:2::/64", "")
    turns.members.note("Bearer l4m_good", 12)
    assert of(authorization="Bearer l4m_good") == Sender("192.0.2.1", "member 12", is_member=True)


def test_cookies_and_tokens_are_known_once_they_were_good(alice: User, client: Client) -> None:
    turns.members._numbers.clear()
    client.force_login(alice)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    token = f"Bearer {create_token(user=alice, name='tests')[1]}"

    handler = BaseHandler()
    handler.load_middleware()

    def asks(path: str, **headers: str) -> int:
        """As a browser or program does through ASGI, whose requests have a scope."""
        encoded = [(name.encode(), value.encode()) for name, value in ({"host": "localhost"} | headers).items()]
        scope = {"type": "http", "method": "GET", "path": path, "headers": encoded, "query_string": b""}
        return handler.get_response(ASGIRequest(scope, BytesIO())).status_code

    assert asks("/", cookie=f"{settings.SESSION_COOKIE_NAME}=made-up") == 302
    assert asks("/api/v1/me", authorization="Bearer made-up") == 401
    assert turns.members._numbers == {}
    assert asks("/", cookie=f"{settings.SESSION_COOKIE_NAME}={session}") == 200
    assert asks("/api/v1/me", authorization=token) == 200
    assert turns.members._numbers == {session: alice.pk, token: alice.pk}


def test_of_the_members_that_are_known_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MOST_KNOWN", 2)
    known = Members()
    for number, credential in enumerate(("a", "b", "a", "c")):
        known.note(credential, number)
    assert [known.number(credential) for credential in "abc"] == [2, None, 3]


@pytest.mark.parametrize("path", ["/accounts/login/", "/accounts/password/", "/invitations/abc/"])
def test_one_password_at_a_time_is_hashed_and_pages_go_on_meanwhile(path: str) -> None:
    at_work, most, pages = 0, 0, 0

    async def application(scope: turns.Scope, receive: object, send: object) -> None:
        nonlocal at_work, most, pages
        if scope["method"] == "GET":
            pages += 1
            return
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.01)
        at_work -= 1

    async def story() -> None:
        site = turns.InTurn(application)
        site.turns._longest = 0.001  # however long it takes, the next one is not begun

        def ask(method: str, number: int) -> Coroutine[Any, Any, None]:
            client = (f"198.51.100.{number}", 1)
            return site({"method": method, "path": path, "headers": [], "client": client}, None, None)

        posts = [asyncio.create_task(ask("POST", number)) for number in range(30)]
        await asyncio.sleep(0.005)
        await ask("GET", 99)
        assert pages == 1
        assert not posts[-1].done()
        await asyncio.gather(*posts)

    play(story)
    assert most == 1


def test_every_page_that_hashes_a_password_is_known_as_one() -> None:
    """Those of the admin are for people who moderate."""
    hashing = {"account_login", "account_change_password", "invitation"}
    for name in hashing:
        path = reverse(name, kwargs={"secret": "abc"} if name == "invitation" else {})
        assert path.startswith(turns.HASHING)
    for row in ("/", "/accounts/tokens/", "/accounts/logout/", "/api/v1/me", "/servers/a/"):
        assert not row.startswith(turns.HASHING)


def test_hashes_are_made_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def slow(*args: object) -> bool:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.01)
        with lock:
            at_work -= 1
        return True

    monkeypatch.setattr(Argon2PasswordHasher, "verify", slow)
    monkeypatch.setattr(Argon2PasswordHasher, "encode", slow)
    hasher = OneAtATime()
    with ThreadPoolExecutor(8) as pool:
        for number in range(16):
            pool.submit(hasher.verify if number % 2 else hasher.encode, "password", "salt")
    assert most == 1


def test_a_password_of_other_parameters_is_good_and_kept_by_todays_from_then_on() -> None:
    before = Argon2PasswordHasher().encode("a password", "salt" * 4)
    upgraded = []
    with override_settings(PASSWORD_HASHERS=["portal.hashing.OneAtATime"]):
        assert check_password("a password", before, setter=upgraded.append)
        assert not check_password("another", before)
        assert upgraded == ["a password"]
        now = make_password("a password")
        assert "m=47104,t=1,p=1" in now
        assert check_password("a password", now)


def test_whoever_waits_for_a_game_gives_the_turn_to_others() -> None:
    async def application(scope: turns.Scope, receive: object, send: object) -> None:
        if scope["path"] == "/waits":
            await asyncio.to_thread(pause)
            await asyncio.Event().wait()

    async def story() -> None:
        site = turns.InTurn(application)
        site.turns = Turns(1, of_one=1, of_visitors=1)
        scope = {"method": "GET", "headers": [], "client": ("192.0.2.1", 1)}
        waits = asyncio.create_task(site(scope | {"path": "/waits"}, None, None))
        await site(scope | {"path": "/"}, None, None)
        waits.cancel()
        with suppress(asyncio.CancelledError):
            await waits
        assert (site.turns._free, site.turns._at_work) == (1, {})

    play(story)


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
