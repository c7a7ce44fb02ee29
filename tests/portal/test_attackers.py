"""Addresses that hold all they are allowed of a real web process, and a newcomer who does what members do meanwhile.

The web process may open few files here, so that three addresses take all connections there are for everybody.
"""

import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
from django.conf import settings

from portal.admission import FORM_BYTES, PIECE_BYTES, SENTENCES
from portal.models import User
from servers.services.uploads import PIECE, new_key
from tests.jobs.sockets import Socket, cookie
from tests.stack import Stack, wait_for

OPEN_FILES = 1024  # half of which are for connections, of which one address may have half
SHARE = OPEN_FILES // 4
NEWCOMERS = ["127.0.1.1", "127.0.1.2"]


@dataclass
class Member:
    """Somebody who is signed in, at one address."""

    port: int
    address: str
    session: str
    source: str = ""  # a proxy's address

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """The answer's status and body, over a connection of its own."""
        cookies = f"{settings.SESSION_COOKIE_NAME}={self.session}; {settings.CSRF_COOKIE_NAME}={'a' * 32}"
        peer = HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(self.source or self.address, 0))
        try:
            known = {"Cookie": cookies, "X-CSRFToken": "a" * 32, "X-Forwarded-For": self.address}
            peer.request(method, path, body, known | headers)
            answer = peer.getresponse()
            return answer.status, answer.read()
        finally:
            peer.close()

    def begin(self, size: int) -> str:
        """Its address."""
        given = json.dumps({"name": "a.zip", "size": size}).encode()
        status, begun = self.ask("POST", "/uploads/", given, **{"Content-Type": "application/json"})
        assert status == 201, begun
        return f"/uploads/{json.loads(begun)['key']}/"

    def upload(self) -> None:
        """A whole piece and the rest."""
        url = self.begin(PIECE + 1)
        assert self.ask("PUT", f"{url}?offset=0", b"x" * PIECE) == (200, b'{"offset": %d}' % PIECE)
        assert self.ask("PUT", f"{url}?offset={PIECE}", b"x") == (200, b'{"offset": %d}' % (PIECE + 1))
        assert self.ask("DELETE", url)[0] == 204

    def watch(self) -> None:
        url = f"http://127.0.0.1:{self.port}"
        with Socket(
            url, "/ws/events/", session=self.session, source_address=(self.source or self.address, 0)
        ) as opened:
            opened.connection.ping().wait(30)

    def does_what_members_do(self) -> None:
        assert self.ask("GET", "/healthz")[0] == 200
        assert self.ask("GET", "/")[0] == 200
        # The page's own refusal, which comes after the whole body.
        assert self.ask("POST", "/accounts/login/", b"x" * (256 << 10), **{"X-CSRFToken": "wrong"})[0] == 403
        self.upload()
        self.watch()


class Attacker:
    """Connections of one address, all of which do the same; more than are allowed."""

    def __init__(self, port: int, number: int, source: str = "") -> None:
        self.port, self.number, self.address = port, number, f"127.0.0.{2 + number}"
        self.source = source or self.address
        self.held: list[socket.socket] = []

    def send(self, head: str, body: bytes = b"", *, times: int = SHARE + 20) -> None:
        for _ in range(times):
            with contextlib.suppress(OSError):
                self.held.append(socket.create_connection(("127.0.0.1", self.port), 60, (self.source, 0)))
                forwarded = f"X-Forwarded-For: {self.address}"
                self.held[-1].sendall(f"{head}\r\nHost: localhost:{self.port}\r\n{forwarded}\r\n".encode())
                self.held[-1].sendall(body)

    def slow_heads(self) -> None:
        self.send("GET /healthz HTTP/1.1")

    def slow_bodies(self) -> None:
        self.send("POST /healthz HTTP/1.1", b"Content-Length: 9\r\n\r\nx")

    def idle(self) -> None:
        self.send("GET /healthz HTTP/1.1", b"\r\n")

    def large_bodies(self) -> None:
        """All but the last byte of each."""
        body = b"Content-Length: %d\r\n\r\n%s" % (FORM_BYTES, b"x" * (FORM_BYTES - 1))
        self.send(f"POST /healthz HTTP/1.1\r\nCookie: {settings.SESSION_COOKIE_NAME}=a", body, times=9)

    def pieces(self) -> None:
        """Of another member at each address, who sends half of each."""
        body = b"Content-Length: %d\r\n\r\n%s" % (PIECE_BYTES, b"x" * (PIECE_BYTES // 2))
        self.send(f"PUT /uploads/{new_key(1000 + self.number)}/?offset=0 HTTP/1.1", body, times=3)

    def half_websockets(self) -> None:
        """Handshakes of nobody, whose close frame is never answered, and what is no handshake at all."""
        upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://localhost:{self.port}\r\n"
        version = "Sec-WebSocket-Version: 13\r\n"
        for key in ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", ""):
            head = f"{upgrade}{version}{key}\r\n".encode()
            self.send("GET /ws/events/ HTTP/1.1", head, times=SHARE // 2)

    def is_refused(self) -> bool:
        """Whether any of its connections was ended or told that there is too much."""
        return any(map(ended, self.held))

    def leave(self) -> None:
        for one in self.held:
            one.close()


def ended(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        answer = one.recv(1000, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return not answer or SENTENCES[503].encode() in answer


@pytest.fixture
def web(stack: Stack) -> Stack:
    stack.prefix = ["prlimit", f"--nofile={OPEN_FILES}"]
    stack.start_web()
    return stack


def files(stack: Stack) -> int:
    """How many the web process has open."""
    return len(list(Path(f"/proc/{stack.processes['web'].pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("attack", "addresses", "is_told"),
    [
        (Attacker.slow_heads, 3, True),
        (Attacker.slow_bodies, 3, True),
        (Attacker.idle, 3, True),
        (Attacker.large_bodies, 8, True),
        (Attacker.pieces, 8, True),
        (Attacker.half_websockets, 3, False),  # they do not last
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_newcomer_does_everything_while_others_hold_all_they_are_allowed(
    web: Stack, alice: User, attack: Callable[[Attacker], None], addresses: int, is_told: bool
) -> None:
    before, session = files(web), cookie(alice)
    attackers = [Attacker(web.port, number) for number in range(addresses)]
    with contextlib.ExitStack() as until_the_end:
        for one in attackers:
            until_the_end.callback(one.leave)
            attack(one)
        if is_told:
            wait_for(lambda: all(one.is_refused() for one in attackers), what="an end to what an address may have")
        for address in NEWCOMERS:
            Member(web.port, address, session).does_what_members_do()
    wait_for(lambda: files(web) <= before + 20, seconds=60, what="the end of their connections")
    Member(web.port, attackers[0].address, session).does_what_members_do()


@pytest.mark.parametrize(
    ("attack", "addresses"), [(Attacker.slow_bodies, 3), (Attacker.idle, 3), (Attacker.large_bodies, 8)],
    ids=lambda given: getattr(given, "__name__", ""),
)  # fmt: skip
def test_so_it_is_behind_a_proxy_whose_connections_are_all_of_one_address(
    web: Stack, alice: User, attack: Callable[[Attacker], None], addresses: int
) -> None:
    web.start_web("proxied", 0, "--behind-proxy")
    attackers = [Attacker(web.port, number, "127.0.0.1") for number in range(addresses)]
    with contextlib.ExitStack() as until_the_end:
        for one in attackers:
            until_the_end.callback(one.leave)
            attack(one)
        wait_for(lambda: all(one.is_refused() for one in attackers), what="an end to what an address may have")
        for address in NEWCOMERS:
            Member(web.port, address, cookie(alice), "127.0.0.1").does_what_members_do()


def test_a_piece_too_many_is_told_when_to_come_again_and_the_upload_goes_on(web: Stack, alice: User) -> None:
    member = Member(web.port, NEWCOMERS[0], cookie(alice))
    url = member.begin(2 * PIECE)
    assert member.ask("PUT", f"{url}?offset=0", b"x" * PIECE)[0] == 200
    tab = Attacker(web.port, 0)
    tab.send(f"PUT {url}?offset=0 HTTP/1.1", b"Content-Length: %d\r\n\r\n" % PIECE_BYTES, times=2)
    wait_for(lambda: member.ask("PUT", f"{url}?offset={PIECE}", b"x" * PIECE)[0] == 503, what="two pieces on their way")
    tab.leave()
    again = lambda: member.ask("PUT", f"{url}?offset={PIECE}", b"x" * PIECE)  # noqa: E731
    assert wait_for(lambda: again() == (200, b'{"offset": %d}' % (2 * PIECE)), what="room")
