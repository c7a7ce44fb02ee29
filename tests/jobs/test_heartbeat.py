"""The heartbeat of a socket: pages see it, and a client that pings without reading costs no memory."""

import contextlib
import socket as sockets
import time

import pytest

from portal.models import User
from servers.models import Server
from tests.jobs.sockets import Socket, token_of
from tests.jobs.test_feed_faults import Stopped, append, numbered, resident
from tests.stack import Stack

pytestmark = pytest.mark.django_db(transaction=True)
PING = b"\x89\xfd\0\0\0\0" + b"p" * 125
FLOOD_BYTES = 64 << 20


@pytest.mark.parametrize("path", ["/ws/events/", "/ws/streams/{console}/"])
def test_who_asks_for_it_hears_a_beat_in_each_silence(stack: Stack, alice: User, server: Server, path: str) -> None:
    stack.environment |= {"LEFT4ME_PING_SECONDS": "1"}
    url, token, path = stack.start_web(), token_of(alice), path.format(console=server.console_id)
    with Socket(url, f"{path}?beat=1", token=token) as asks, Socket(url, path, token=token) as does_not:
        assert [asks.receive()["type"] for _ in range(2)] == ["beat", "beat"]
        with pytest.raises(TimeoutError):
            does_not.receive(timeout=0.1)


def test_pings_of_a_client_that_reads_no_answers_do_not_pile_up(stack: Stack, alice: User, server: Server) -> None:
    url, token = stack.start_web(), token_of(alice)
    path = f"/ws/streams/{server.console_id}/"
    with Socket(url, path, token=token) as good:
        hostile = Stopped(url, path, token)
        before, sent = resident(stack.processes["web"].pid), 0
        hostile.socket.settimeout(5)
        with contextlib.suppress(sockets.timeout, ConnectionError):
            began = time.monotonic()
            while sent < FLOOD_BYTES and time.monotonic() - began < 60:
                sent += hostile.socket.send(PING * 512)
        append(server.console_id, 1, 3)
        assert good.lines(3) == numbered(1, 3)
        assert sent >= FLOOD_BYTES, "its pings were read, so memory had its chance to grow"
        assert resident(stack.processes["web"].pid) - before < 16 << 20
        hostile.socket.close()
