"""What happens to viewers when a part fails: nothing lost, nothing doubled."""

import asyncio
import json
import socket as sockets
import threading
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from django.db import connection

from jobs import streams
from jobs.feed import gate
from jobs.policy import Asked, Verdict
from portal.models import User
from servers.models import Server
from tests.environment import postgres
from tests.jobs.sockets import Socket, cookie, metric, token_of
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def numbered(first: int, last: int) -> list[tuple[int, str]]:
    return [(number, f"line {number}") for number in range(first, last + 1)]


def append(stream: int, first: int, last: int) -> None:
    streams.append(stream, [text for _, text in numbered(first, last)])


def test_a_lost_listening_connection_loses_no_line(web: str, alice: User, server: Server) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with Socket(web, f"/ws/streams/{server.console_id}/", alice) as socket:
        for number in range(1, 41):
            append(server.console_id, number, number)
            if number % 10 == 5:
                with connection.cursor() as db:
                    db.execute(f"{kill} AND datname = current_database()")
                    assert db.fetchall()
            time.sleep(0.02)
        assert socket.lines(40) == numbered(1, 40)


def test_a_restart_of_postgresql_loses_no_line(web: str, alice: User, server: Server) -> None:
    if postgres is None:
        pytest.fail("This test restarts PostgreSQL: run it without DATABASE_URL.")
    with Socket(web, f"/ws/streams/{server.console_id}/", alice) as socket:
        append(server.console_id, 1, 5)
        assert socket.lines(5) == numbered(1, 5)
        connection.close()
        postgres.restart()
        append(server.console_id, 6, 9)
        assert socket.lines(9) == numbered(6, 9)


@pytest.mark.parametrize("path", ["/ws/events/", "/ws/streams/1/"])
def test_while_the_database_does_not_answer_a_socket_is_closed_with_try_again_later(
    web: str, alice: User, path: str
) -> None:
    session = cookie(alice)
    Socket(web, path, session=session).connection.close()
    with connection.cursor() as db:
        db.execute("ALTER TABLE django_session RENAME TO elsewhere")
    try:
        with Socket(web, path, session=session) as socket:
            assert socket.close_code() == 1013
            assert socket.connection.protocol.close_rcvd.reason == "Try again in a moment."
    finally:
        with connection.cursor() as db:
            db.execute("ALTER TABLE elsewhere RENAME TO django_session")


async def test_whoever_is_at_the_door_while_the_database_hangs_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "ANSWER_SECONDS", 0.05)
    door, awake, asked = gate.Gate(), asyncio.Event(), Asked("session:x", 1)

    async def decide(questions: Collection[Asked]) -> dict[Asked, Verdict]:
        await awake.wait()
        return {question: Verdict(0) for question in questions}

    door._decide = decide
    running = asyncio.create_task(door.run())
    async with asyncio.timeout(10):
        assert [verdict.code for verdict in await asyncio.gather(*[door.ask(asked) for _ in range(3)])] == [1013] * 3
        assert (await door.ask(asked)).code == 1013, "also of the next round"
        awake.set()
        assert (await door.ask(asked)).code == 0
    running.cancel()


def test_after_a_kill_of_the_web_process_viewers_resume(stack: Stack, alice: User, server: Server) -> None:
    url, token = stack.start_web(), token_of(alice)
    path = f"/ws/streams/{server.console_id}/"
    append(server.console_id, 1, 10)
    first = Socket(url, path, token=token)
    assert first.lines(10) == numbered(1, 10)
    stack.kill("web")
    append(server.console_id, 11, 20)
    stack.start_web(port=stack.port)
    with Socket(url, f"{path}?after=10", token=token) as second:
        append(server.console_id, 21, 30)
        assert second.lines(30) == numbered(11, 30)


def test_one_process_leaves_the_sockets_of_another_alone(stack: Stack, alice: User, server: Server) -> None:
    path, token = f"/ws/streams/{server.console_id}/", token_of(alice)
    urls = [stack.start_web(name) for name in ("one", "two")]
    with Socket(urls[0], path, token=token) as one:
        with Socket(urls[1], path, token=token) as two:
            append(server.console_id, 1, 3)
            assert one.lines(3) == two.lines(3) == numbered(1, 3)
        stack.stop("two")
        append(server.console_id, 4, 4)
        assert one.lines(4) == numbered(4, 4)


def resident(pid: int) -> int:
    """Bytes of memory the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def test_a_viewer_who_stops_reading_is_paused_and_closed_and_resumes(stack: Stack, alice: User, server: Server) -> None:
    stack.environment |= {"LEFT4ME_SLOW_SECONDS": "6", "LEFT4ME_METRICS_TOKEN": "tests"}
    url, token = stack.start_web(), token_of(alice)
    path = f"/ws/streams/{server.console_id}/"
    text = "x" * 1000
    with Socket(url, path, token=token) as good:
        slow = Stopped(url, path, token)
        streams.append(server.console_id, [text] * 100)
        good.lines(100)
        before = resident(stack.processes["web"].pid)
        for number in range(1, 51):  # 20 MB, of which the slow one's share must stay in the table
            streams.append(server.console_id, [text] * 400)
            good.lines(100 + 400 * number)
        assert resident(stack.processes["web"].pid) - before < 8 * 1024 * 1024
        wait_for(lambda: metric(url, "left4me_slow_viewers_closed_total") == 1, seconds=20, what="4408")
        started = time.monotonic()
        streams.append(server.console_id, ["on time"])
        assert good.lines(20_101) == [(20_101, "on time")]
        assert time.monotonic() - started < 2
    seen, code = slow.read_all()
    assert code == 4408
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) < 5000
    with Socket(url, f"{path}?after={len(seen)}", token=token) as again:
        assert [seq for seq, _ in again.lines(20_101)] == list(range(len(seen) + 1, 20_102))


class Stopped:
    """A client that opens a socket and reads nothing until told to; it speaks just enough WebSocket for that."""

    def __init__(self, url: str, path: str, token: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self.socket = sockets.create_connection((host, int(port)))
        self.socket.settimeout(15)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )
        self.file = self.socket.makefile("rb", buffering=0)
        while self._exactly(1) != b"\n" or self._exactly(2) != b"\r\n":
            pass

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (more := self.file.read(size - len(data))):
                raise EOFError
            data += more
        return data

    def read_all(self) -> tuple[list[int], int]:
        """Numbers of the lines that came, and the close code."""
        seen: list[int] = []
        while True:
            head, size = self._exactly(2)
            size = int.from_bytes(self._exactly({126: 2, 127: 8}[size])) if size > 125 else size
            payload = self._exactly(size)
            if head & 15 == 8:
                self.socket.close()
                return seen, int.from_bytes(payload[:2])
            if head & 15 == 1:
                seen += [line[0] for line in json.loads(payload)["lines"]]


def test_a_peer_that_does_not_answer_pings_is_dropped_while_lines_flow(
    stack: Stack, alice: User, server: Server
) -> None:
    stack.environment |= {"LEFT4ME_PING_SECONDS": "1"}
    url, token = stack.start_web(), token_of(alice)
    dead = Stopped(url, f"/ws/streams/{server.console_id}/", token)
    done = threading.Event()

    def write() -> None:
        while not done.wait(0.1):
            streams.append(server.console_id, ["x"])
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises((EOFError, ConnectionResetError)):
            dead.read_all()  # reads, but never answers
    finally:
        done.set()
        writer.join()
