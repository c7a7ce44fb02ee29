"""Whose request is next: few are at work at once, and those who send them take turns.

Django gives every request a thread, and threads share the processor evenly. So whoever sends thirty requests at once
would get thirty shares of it, and everybody else would wait that much longer for their one page.
"""

import asyncio
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.utils.deprecation import MiddlewareMixin

from jobs.addresses import network_of
from jobs.pauses import on_pause

AT_WORK = 4  # Python computes one at a time; the others wait for the database meanwhile
OF_ONE = 3  # of an address, or of a member wherever they send from: a turn is left to others
OF_VISITORS = 2  # of all who are not known as members, whose addresses cost nothing
LONGEST = 1.0  # seconds; a request that takes longer waits for something else, and makes room
HASHING = ("/accounts/login/", "/accounts/password/", "/invitations/")  # where passwords are hashed: costly by design
MOST_KNOWN = 10_000
VISITORS = ("visitors", "")


class Sender(NamedTuple):
    """Who sends a request, as far as is known before the database is asked."""

    address: str  # its network (`network_of`)
    name: str  # a member's number, else the cookie or the token, which nobody has looked at; "" for none
    is_member: bool = False


class Members:
    """Whose cookies and tokens were good, of late. Any thread's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: OrderedDict[str, int] = OrderedDict()

    def note(self, credential: str, number: int) -> None:
        with self._lock:
            self._numbers[credential] = number
            self._numbers.move_to_end(credential)
            if len(self._numbers) > MOST_KNOWN:
                self._numbers.popitem(last=False)

    def number(self, credential: str) -> int | None:
        with self._lock:
            return self._numbers.get(credential)


members = Members()


class Turns:
    """For one event loop. At most `most` are at work, `of_one` of them of one address or name, `of_visitors` of all who
    are no known members. The next turn is for the address and name with the fewest at work, then for the name with the
    fewest, then for whoever has waited longest for one."""

    def __init__(self, most: int, *, of_one: int, of_visitors: int, longest: float | None = None) -> None:
        self._free = most
        self._of_one, self._of_visitors, self._longest = of_one, of_visitors, longest
        self._at_work: Counter[tuple[str, str]] = Counter()  # by address, by name, and of visitors
        self._waiting: OrderedDict[Sender, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, sender: Sender) -> AsyncIterator[Callable[[], None]]:
        """Wait for a turn, and have it until the end, until what this gives is called, or for `longest` seconds."""
        await self._begin(sender)
        is_over = False

        def end() -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                self._end(sender)

        timer = asyncio.get_running_loop().call_later(self._longest, end) if self._longest else None
        try:
            yield end
        finally:
            if timer:
                timer.cancel()
            end()

    async def _begin(self, sender: Sender) -> None:
        if self._may(sender):
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

    def _may(self, sender: Sender) -> bool:
        """Whether a turn is free and may be this sender's."""
        is_kept_out = not sender.is_member and self._at_work[VISITORS] >= self._of_visitors
        return self._free > 0 and max(self._rank(sender)) < self._of_one and not is_kept_out

    def _rank(self, sender: Sender) -> tuple[int, int]:
        of_address, of_name = self._at_work["address", sender.address], self._at_work["name", sender.name]
        return max(of_address, of_name), of_name

    def _take(self, sender: Sender) -> None:
        self._free -= 1
        self._at_work.update(_counted(sender))

    def _end(self, sender: Sender) -> None:
        self._free += 1
        self._at_work.subtract(_counted(sender))
        self._at_work = +self._at_work  # without those that have none
        while self._give():
            pass

    def _give(self) -> bool:
        """Whoever is given a turn goes to the end of `_waiting`, and of equals the first comes first."""
        if not (able := [one for one in self._waiting if self._may(one)]):
            return False
        sender = min(able, key=self._rank)
        queue = self._waiting.pop(sender)
        next_one = queue.popleft()
        if queue:
            self._waiting[sender] = queue
        if not next_one.cancelled():
            self._take(sender)
            next_one.set_result(None)
        return True


def _counted(sender: Sender) -> list[tuple[str, str]]:
    """What a turn of theirs counts for."""
    found = [("address", sender.address)]
    if sender.name:
        found.append(("name", sender.name))
    if not sender.is_member:
        found.append(VISITORS)
    return found


Scope = Mapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]


class InTurn:
    """The pages' ASGI application, each request of which waits for its turn; one at a time has a password hashed."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.turns = Turns(AT_WORK, of_one=OF_ONE, of_visitors=OF_VISITORS, longest=LONGEST)
        self.hashing = Turns(1, of_one=1, of_visitors=1)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        sender, loop = sender_of(scope), asyncio.get_running_loop()
        async with AsyncExitStack() as turns:
            if scope["method"] == "POST" and scope["path"].startswith(HASHING):
                await turns.enter_async_context(self.hashing.turn(sender))
            end = await turns.enter_async_context(self.turns.turn(sender))
            on_pause.set(lambda: loop.call_soon_threadsafe(end))
            await self.application(scope, receive, send)


class NoteMember(MiddlewareMixin):
    """Remembers whose the cookie or token of a request was, for the turns of the next ones."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        user = getattr(request, "_cached_user", None) or getattr(request, "auth", None)  # where somebody asked
        if isinstance(user, AbstractBaseUser) and isinstance(request, ASGIRequest):
            members.note(_credential(request.scope), user.pk)
        return response


def sender_of(scope: Scope) -> Sender:
    """Whose the request is. Sessions that somebody makes up only share what visitors have."""
    credential, client = _credential(scope), scope.get("client") or [""]
    number = members.number(credential)
    address = network_of(client[0])
    return Sender(address, credential) if number is None else Sender(address, f"member {number}", is_member=True)


def _credential(scope: Scope) -> str:
    """The token, or the session's cookie."""
    headers = dict(scope["headers"])
    token = headers.get(b"authorization", b"").decode("latin-1")
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    return token or cookies.get(settings.SESSION_COOKIE_NAME, "")
