"""Whose request is next: few are at work at once, and those who send them take turns.

Django gives every request a thread, and threads share the processor evenly. So whoever sends thirty requests at once
would get thirty shares of it, and everybody else would wait that much longer for their one page.
"""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from django.conf import settings
from django.http import parse_cookie

from jobs.addresses import network_of

AT_WORK = 4  # Python computes one at a time; the others wait for the database meanwhile
YOUNG = 0.25  # seconds; a request that takes longer waits for something else, and makes room


class Sender(NamedTuple):
    """Who sends a request, as far as is known before the database is asked."""

    address: str  # its network (`network_of`)
    session: str  # the cookie or the token, whether or not it is good


class Turns:
    """For one event loop. Once `most` are at work, the next turn is for the address with the fewest at work, then for
    the session with the fewest, then for whoever has waited longest for one."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._at_work: Counter[str | Sender] = Counter()  # by address, and by sender
        self._waiting: OrderedDict[Sender, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, sender: Sender) -> AsyncIterator[None]:
        """Wait for a turn, and have it for `YOUNG` seconds at most."""
        await self._begin(sender)
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._end(sender)

        timer = asyncio.get_running_loop().call_later(YOUNG, end)
        try:
            yield
        finally:
            timer.cancel()
            end()

    async def _begin(self, sender: Sender) -> None:
        if self._free:
            self._take(sender)
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._end(sender)  # it was given the turn a moment before
            raise

    def _take(self, sender: Sender) -> None:
        self._free -= 1
        self._at_work.update((sender.address, sender))

    def _end(self, sender: Sender) -> None:
        self._free += 1
        for key in (sender.address, sender):
            self._at_work[key] -= 1
            if not self._at_work[key]:
                del self._at_work[key]
        while self._waiting and self._free:
            self._give()

    def _give(self) -> None:
        """Whoever is given a turn goes to the end of `_waiting`, and of equals the first comes first."""
        sender = min(self._waiting, key=lambda one: (self._at_work[one.address], self._at_work[one]))
        queue = self._waiting.pop(sender)
        next_one = queue.popleft()
        if queue:
            self._waiting[sender] = queue
        if not next_one.cancelled():
            self._take(sender)
            next_one.set_result(None)


Scope = dict[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class InTurn:
    """The pages' ASGI application, each request of which waits for its turn."""

    def __init__(self, application: Application) -> None:
        self.application, self.turns = application, Turns(AT_WORK)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        async with self.turns.turn(sender_of(scope)):
            await self.application(scope, receive, send)


def sender_of(scope: Scope) -> Sender:
    """Whose the request is. Sessions that somebody makes up only share what their address has."""
    headers = dict(scope["headers"])
    token = headers.get(b"authorization", b"").decode("latin-1")
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    client = scope.get("client") or [""]
    return Sender(network_of(client[0]), token or cookies.get(settings.SESSION_COOKIE_NAME, ""))
