"""What strangers send to the web process: how much of it is kept, and what others notice."""

import contextlib
import re
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.request import urlopen

import pytest
from django.conf import settings

from jobs.addresses import network_of
from portal.admission import (
    FORM_BYTES,
    LINGER_BYTES,
    NOBODYS_BYTES,
    PIECE_BYTES,
    PROXY,
    SENTENCES,
    Admission,
    Share,
)
from portal.web import shared_connections
from servers.services.uploads import member_of, new_key
from tests.stack import Stack, wait_for

HUGE = 400 << 20
PIECE = b"x" * (64 << 10)
MiB = 1 << 20
NOBODYS = "/uploads/00000000-0000-0000-0000-000000000000/"
UPLOAD = f"/uploads/{new_key(7)}/"
ON_ITS_WAY = 32 * MiB  # more than the kernel keeps of one connection
SESSION = f"Cookie: a=b; {settings.SESSION_COOKIE_NAME}=made-up"


@pytest.fixture
def web(stack: Stack) -> int:
    stack.start_web()
    return stack.port


def kept(stack: Stack) -> tuple[int, int]:
    """Bytes of memory and of temporary files that the web process has at its worst; memory as the kernel noted it."""
    process = Path("/proc", str(stack.processes["web"].pid))
    memory = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM"))
    files = 0
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if "(deleted)" in str(descriptor.readlink()):
                files += descriptor.stat().st_size
    return int(memory.split()[1]) << 10, files


class Sender:
    """A client that sends a request by hand."""

    def __init__(self, port: int, head: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.sendall(f"{head}\r\nHost: localhost\r\n".encode())

    def send(self, total: int, *, chunked: bool) -> Iterator[int]:
        """Sends the body as long as the portal takes it; yields the bytes sent so far."""
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(f"{length}\r\n\r\n".encode())
            for sent in range(0, total, len(PIECE)):
                yield sent
                self.socket.sendall(b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE)
            self.socket.sendall(b"0\r\n\r\n" if chunked else b"")

    def status(self) -> int:
        """Of the answer; 0 when there is none."""
        with contextlib.suppress(OSError):
            if line := self.socket.recv(100):
                return int(line.split()[1])
        return 0


def healthy(port: int) -> bool:
    return urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30).status == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "path",
    ["/healthz", "/nothing/here", "/api/v1/servers", UPLOAD],
    ids=["health", "nothing", "api", "upload"],  # a key is another each time
)
def test_a_huge_body_is_refused_and_not_kept(stack: Stack, web: int, path: str, chunked: bool) -> None:
    memory, _ = kept(stack)
    sender = Sender(web, f"POST {path} HTTP/1.1")
    files = 0
    for sent in sender.send(HUGE, chunked=chunked):
        if sent % (50 * MiB) == 0:
            assert healthy(web)
            files = max(files, kept(stack)[1])
    assert sender.status() == 413
    assert sent < LINGER_BYTES + ON_ITS_WAY  # then the portal stopped reading
    assert kept(stack)[0] - memory < 40 * MiB
    assert files < FORM_BYTES + MiB


def test_the_answer_comes_before_the_body_and_no_body_is_asked_for(web: int) -> None:
    sender = Sender(web, f"POST /healthz HTTP/1.1\r\nContent-Length: {HUGE}\r\nExpect: 100-continue")
    sender.socket.sendall(b"\r\n")
    assert sender.status() == 413


def test_a_client_that_knows_only_http_reads_the_refusal_after_it_sent_everything(web: int) -> None:
    """It writes first and reads then; a connection that is reset would show it nothing."""
    connection = HTTPConnection("127.0.0.1", web, timeout=60)
    connection.request("POST", "/api/v1/servers", body=b"x" * (50 * MiB))
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (413, "application/problem+json; charset=utf-8")


@pytest.mark.parametrize(
    ("head", "size", "status"),
    [
        (f"POST /healthz HTTP/1.1\r\n{SESSION}", FORM_BYTES, 403),  # by the page: no token of the form
        (f"POST /healthz HTTP/1.1\r\n{SESSION}", FORM_BYTES + 1, 413),
        ("POST /api/v1/servers HTTP/1.1\r\nAuthorization: Bearer a", FORM_BYTES, 401),
        ("POST /api/v1/servers HTTP/1.1\r\nAuthorization: Bearer a", FORM_BYTES + 1, 413),
        ("POST /accounts/login/ HTTP/1.1", NOBODYS_BYTES, 403),
        ("POST /accounts/login/ HTTP/1.1", NOBODYS_BYTES + 1, 413),
        ("POST /accounts/login/ HTTP/1.1\r\nCookie: a=b", NOBODYS_BYTES + 1, 413),
        (f"PUT {NOBODYS}?offset=0 HTTP/1.1\r\nCookie: a=b", FORM_BYTES + 1, 413),  # of no upload that was ever begun
        (f"PUT {UPLOAD}?offset=0 HTTP/1.1", PIECE_BYTES, 403),
        (f"PUT {UPLOAD}?offset=0 HTTP/1.1", PIECE_BYTES + 1, 413),
        (f"POST {UPLOAD} HTTP/1.1", FORM_BYTES + 1, 413),
    ],
    ids=lambda value: re.sub(r"[0-9a-f-]{36}", "KEY", str(value)),
)
def test_only_a_piece_of_an_upload_may_be_large(web: int, head: str, size: int, status: int) -> None:
    sender = Sender(web, head)
    sender.socket.sendall(b"Content-Length: %d\r\n\r\n" % size)
    with contextlib.suppress(OSError):
        sender.socket.sendall(b"x" * size)
    assert sender.status() == status


def test_a_body_in_chunks_of_nobody_is_refused_at_the_first_byte_too_many(web: int) -> None:
    sender = Sender(web, "POST /accounts/login/ HTTP/1.1")
    chunk = b"%x\r\n%s\r\n" % (NOBODYS_BYTES + 1, b"x" * (NOBODYS_BYTES + 1))
    sender.socket.sendall(b"Transfer-Encoding: chunked\r\n\r\n" + chunk)  # which goes on
    assert sender.status() == 413


def test_slow_bodies_and_slow_heads_keep_nobody_out(stack: Stack, web: int) -> None:
    slow = [Sender(web, "POST /healthz HTTP/1.1\r\nContent-Length: 60000\r\n") for _ in range(200)]
    slow += [Sender(web, "GET /healthz HTTP/1.1") for _ in range(200)]
    for sender in slow:
        sender.socket.sendall(b"x")
    assert healthy(web)
    connection = HTTPConnection("127.0.0.1", web, timeout=30)
    connection.request("POST", "/accounts/login/", body="login=x")
    assert connection.getresponse().status == 403  # by the page: no token of the form
    for sender in slow:
        sender.socket.close()
    wait_for(lambda: len(list(Path(f"/proc/{stack.processes['web'].pid}/fd").iterdir())) < 100, what="their end")


def test_a_request_that_trickles_in_is_ended(stack: Stack, web: int) -> None:
    """A byte now and then puts nothing off: the time of a head and of a body is limited as a whole."""
    head = Sender(web, "GET /healthz HTTP/1.1")
    body = Sender(web, "POST /healthz HTTP/1.1\r\nContent-Length: 60000\r\n")
    for sender in (head, body):
        sender.socket.settimeout(1)

        def ended(sender: Sender = sender) -> bool:
            with contextlib.suppress(OSError):
                sender.socket.send(b"x")
            return sender.status() == 408

        wait_for(ended, seconds=60, what="an end to waiting")
    assert healthy(web)


def test_connections_of_one_address_are_limited(stack: Stack) -> None:
    stack.environment["LEFT4ME_SOCKETS_PER_ADDRESS"] = "-990"  # and a thousand: ten connections
    stack.start_web()
    open_ones = [socket.create_connection(("127.0.0.1", stack.port), timeout=10) for _ in range(30)]
    closed = 0
    for one in open_ones[10:]:
        with contextlib.suppress(ConnectionResetError):
            closed += one.recv(1) == b""
    assert closed
    for one in open_ones:
        one.close()

    def room() -> bool:
        try:
            return healthy(stack.port)
        except OSError:
            return False

    wait_for(room, what="room again")


def test_an_address_gets_its_share_and_gives_it_back() -> None:
    share = Share(each=2, total=6)
    assert [share.take(address) for address in ("a", "a", "a", "b", "b")] == [True, True, False, True, False]
    share.give_back("a")
    assert (share.take("b"), share.taken) == (True, 3)


@pytest.mark.parametrize("share", [Admission(connections=shared_connections()).running, shared_connections()])
@pytest.mark.parametrize("attackers", [1, 4, 9, 100])
def test_a_hundred_addresses_that_take_all_they_can_leave_room_for_the_first_of_another(
    share: Share, attackers: int
) -> None:
    share = Share(each=share.each, total=share.total)
    for attacker in range(attackers):
        while share.take(f"attacker {attacker}"):
            pass
    for attacker in range(attackers):  # and once more, when something was given back
        share.give_back(f"attacker {attacker}")
        while share.take(f"attacker {attacker}"):
            pass
    assert all(share.take("newcomer") for _ in range(4))


def test_a_hundred_addresses_leave_room_for_a_form_of_another() -> None:
    bodies = Admission(connections=shared_connections()).bodies
    for attacker in range(100):
        while bodies.take(f"attacker {attacker}", len(PIECE)):
            pass
    assert all(bodies.take("newcomer", len(PIECE)) for _ in range(8))


def test_members_that_send_all_they_can_leave_room_for_the_pieces_of_others() -> None:
    pieces = Admission(connections=shared_connections()).pieces
    for attacker in range(8):
        while pieces.take(f"attacker {attacker}", PIECE_BYTES):
            pass
    assert all(pieces.take(f"other {number}", PIECE_BYTES) for number in range(4))


def test_a_key_of_an_upload_tells_whose_it_is_unless_somebody_made_it_up() -> None:
    key = str(new_key(7))
    assert (member_of(key), member_of(key.upper())) == (7, 7)
    assert key != str(new_key(7))
    places = [place for place, digit in enumerate(key) if digit != "-"]
    changed = [f"{key[:place]}{int(key[place], 16) ^ 1:x}{key[place + 1 :]}" for place in places]
    for wrong in (*changed, "", "x" * 36, "-" * 36, "0" * 36):
        assert member_of(wrong) is None


def test_a_proxy_may_have_everything() -> None:
    share = shared_connections()
    assert all(share.take(PROXY) for _ in range(share.total))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_an_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def fill(port: int, sources: list[tuple[str, str]], session: str = "made-up") -> list[socket.socket]:
    """Connections that each ask for a page once: from an address of this machine, and forwarded for another."""
    asking = []
    for source, forwarded in sources:
        asking.append(socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)))
        head = f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {forwarded}\r\n"
        asking[-1].sendall(f"{head}Cookie: {settings.SESSION_COOKIE_NAME}={session}\r\n\r\n".encode())
    return asking


def refused(asking: list[socket.socket]) -> int:
    """How many of them were told that too much is under way."""
    told = 0
    for one in asking:
        with contextlib.suppress(BlockingIOError):
            told += SENTENCES[503].encode() in one.recv(1000, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return told


def status(port: int, source: str, forwarded: str) -> int:
    peer = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    peer.request("GET", "/healthz", headers={"X-Forwarded-For": forwarded})
    try:
        return peer.getresponse().status
    finally:
        peer.close()


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "IPv6 through a proxy"])
def test_addresses_that_ask_for_all_they_can_leave_room_for_others(stack: Stack, proxied: bool) -> None:
    """Five addresses ask for 140 pages each at once and are told so; everybody else is answered all the same."""
    stack.start_web("web", 0, *(["--behind-proxy"] if proxied else []))
    attackers = [
        ("127.0.0.1", f"2001:db8:0:{number}::{place:x}") if proxied else (f"127.0.0.{10 + number}", "192.0.2.1")
        for number in range(5)
        for place in range(140)
    ]
    with contextlib.ExitStack() as until_the_end:
        asking = fill(stack.port, attackers)
        for one in asking:
            until_the_end.enter_context(one)
        wait_for(lambda: refused(asking), what="503 for what is more than their share")
        others = [(f"127.0.0.{100 + number}", f"2001:db8:1:{number}::1") for number in range(10)]
        if not proxied:
            assert {status(stack.port, source, "") for source, _ in others} == {200}
        assert {status(stack.port, "127.0.0.1", forwarded) for _, forwarded in others} == {200}
