"""Thousands of viewers in one process, cheap enough not to be what is measured.

One epoll loop over raw sockets, no task and no parser a viewer. Viewers of a stream get the same bytes, so a frame is
parsed once and recognised by a dictionary look-up from then on. Its share of a core is part of what it reports.

Lines must begin with the CLOCK_MONOTONIC time at which they were appended, in nanoseconds. Driven by JSON lines on
its standard input; answers on standard output.
"""

import contextlib
import json
import resource
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

RECEIVE = 256 * 1024
WINDOW = 256  # handshakes under way at once
TENTH = 100_000  # nanoseconds
EVERY = 0.1  # seconds between looks at whether everybody has the last line


@dataclass(frozen=True, slots=True, eq=False)  # told apart as it is: quicker than by what is in it
class Seen:
    """What a message says: numbers first..last, and when its lines were appended, with their count."""

    first: int
    last: int
    stamps: tuple[tuple[int, int], ...]


NOTHING = Seen(0, -1, ())


@dataclass(slots=True)
class Viewer:
    path: str
    after: int
    connection: socket.socket | None = None
    is_open: bool = False
    buffer: bytes = b""


@dataclass
class Tally:
    """What was seen since the last report."""

    arrivals: Counter[tuple[Seen, int]] = field(default_factory=Counter)  # of messages, by tenths of a millisecond
    lines: int = 0
    lost: int = 0
    doubled: int = 0
    began: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    codes: Counter[int] = field(default_factory=Counter)


class Client:
    """`address`: (host, port) or a unix socket's path. `mode`: websocket or sse."""

    def __init__(self, address: Any, token: str, mode: str = "websocket", *, reconnect: bool = False) -> None:
        self.address = tuple(address) if isinstance(address, list) else address
        self.token = token
        self.mode = mode
        self.reconnect = reconnect
        self.poll = select.epoll()
        self.viewers: dict[int, Viewer] = {}
        self.waiting: list[Viewer] = []
        self.connecting = 0
        self.known: dict[bytes, Seen] = {}
        self.room = memoryview(bytearray(RECEIVE))
        self.tally = Tally()
        self.target = 0

    # Connecting.

    def open(self, count: int, paths: list[str], after: list[int], seconds: float) -> int:
        """Open `count` more viewers, spread over `paths`, and over `after`; how many were let in since the start."""
        self.waiting += [
            Viewer(paths[number % len(paths)], after[number // len(paths) % len(after)]) for number in range(count)
        ]
        limit = time.monotonic() + seconds
        while (self.waiting or self.connecting) and time.monotonic() < limit:
            self.turn(0.05)
        return sum(viewer.is_open for viewer in self.viewers.values())

    def _connect(self) -> None:
        while self.waiting and self.connecting < WINDOW:
            viewer = self.waiting.pop()
            family = socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET
            viewer.connection = socket.socket(family, socket.SOCK_STREAM)
            viewer.is_open, viewer.buffer = False, b""
            try:
                viewer.connection.connect(self.address)  # loopback: done at once, or refused
                viewer.connection.sendall(self._request(viewer))
            except OSError:
                viewer.connection.close()
                self.waiting.append(viewer)
                return
            viewer.connection.setblocking(False)
            self.connecting += 1
            self.viewers[viewer.connection.fileno()] = viewer
            self.poll.register(viewer.connection.fileno(), select.EPOLLIN)

    def _request(self, viewer: Viewer) -> bytes:
        separator = "&" if "?" in viewer.path else "?"
        lines = [f"GET {viewer.path}{separator}after={viewer.after} HTTP/1.1", "Host: localhost"]
        if self.mode == "websocket":
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            lines += [f"Sec-WebSocket-Key: {'A' * 22}=="]
        return "\r\n".join([*lines, f"Authorization: Bearer {self.token}", "", ""]).encode()

    def close(self) -> None:
        """Leave, without a word."""
        for viewer in self.viewers.values():
            assert viewer.connection
            viewer.connection.close()
        self.viewers.clear()
        self.poll.close()

    # Reading.

    def turn(self, timeout: float) -> None:
        """Wait for data and take it."""
        self._connect()
        for number, _ in self.poll.poll(timeout):
            viewer = self.viewers[number]
            assert viewer.connection
            try:
                data = self.room[: viewer.connection.recv_into(self.room)].tobytes()
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            now = time.monotonic_ns()
            if not data:
                self._gone(number, viewer)
            else:
                self._take(number, viewer, viewer.buffer + data if viewer.buffer else data, now)

    def _gone(self, number: int, viewer: Viewer) -> None:
        assert viewer.connection
        self.poll.unregister(number)
        del self.viewers[number]
        viewer.connection.close()
        self.connecting -= not viewer.is_open
        if self.reconnect:
            self.waiting.append(viewer)

    def _take(self, number: int, viewer: Viewer, data: bytes, now: int) -> None:
        if not viewer.is_open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                viewer.buffer = head
                return
            if head.split(None, 2)[1] not in (b"101", b"200"):
                self.reconnect = False
                self._gone(number, viewer)
                return
            viewer.is_open = True
            self.connecting -= 1
        if seen := self.known.get(data):  # the usual case: one whole frame, seen before
            viewer.buffer = b""
            self._count(viewer, seen, now)
        else:
            viewer.buffer = self._split(viewer, data, now)

    def _split(self, viewer: Viewer, data: bytes, now: int) -> bytes:
        """Take the whole messages of `data`; what is left."""
        next_message = self._frame if self.mode == "websocket" else self._chunk
        while message := next_message(data):
            raw, seen = message
            data = data[len(raw) :]
            if raw[0] == 0x88 and viewer.connection:
                self.tally.codes[int.from_bytes(raw[2:4])] += 1
                self._gone(viewer.connection.fileno(), viewer)
                return b""
            if raw[0] == 0x89 and viewer.connection:
                with contextlib.suppress(ConnectionError):
                    viewer.connection.sendall(b"\x8a\x80\0\0\0\0")
            self._count(viewer, seen, now)
        return data

    def _frame(self, data: bytes) -> tuple[bytes, Seen] | None:
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return None
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            return None
        raw = data[: start + size]
        return raw, self._parse(raw, raw[start:]) if raw[0] == 0x81 else NOTHING

    def _chunk(self, data: bytes) -> tuple[bytes, Seen] | None:
        head, found, rest = data.partition(b"\r\n")
        if not found or len(rest) < int(head, 16) + 2:
            return None
        raw = data[: len(head) + 2 + int(head, 16) + 2]
        return raw, self._parse(raw, raw[len(head) + 2 :].strip().removeprefix(b"data: "))

    def _parse(self, raw: bytes, payload: bytes) -> Seen:
        if (seen := self.known.get(raw)) is None:
            lines = json.loads(payload).get("lines") or []
            stamps = Counter(int(text.partition(" ")[0]) for _, _, text in lines)
            seen = Seen(lines[0][0], lines[-1][0], tuple(stamps.items())) if lines else NOTHING
            if len(self.known) > 5000:
                self.known.clear()
            self.known[raw] = seen
        return seen

    def _count(self, viewer: Viewer, seen: Seen, now: int) -> None:
        if seen.last < seen.first:
            return
        tally = self.tally
        if seen.first != viewer.after + 1:
            tally.lost += max(0, seen.first - viewer.after - 1)
            tally.doubled += max(0, viewer.after + 1 - seen.first)
        viewer.after = seen.last
        tally.lines += seen.last - seen.first + 1
        tally.arrivals[seen, now // TENTH] += 1

    # Reporting.

    def watch(self) -> None:
        """Begin a new tally."""
        self.tally = Tally()

    def until(self, target: int, seconds: float) -> float:
        """Go on until every viewer has line `target`; the seconds it took, or -1."""
        self.target = target
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            turn_ends = time.monotonic() + EVERY
            while (left := turn_ends - time.monotonic()) > 0:
                self.turn(left)
            if not (self.waiting or self.connecting) and all(one.after >= target for one in self.viewers.values()):
                return time.monotonic() - began
        return -1

    def report(self) -> dict[str, Any]:
        """What was seen since `watch`."""
        tally, wall = self.tally, time.monotonic() - self.tally.began
        return {
            "open": len(self.viewers),
            "lines": tally.lines,
            "lost": tally.lost,
            "doubled": tally.doubled,
            "complete": sum(viewer.after >= self.target for viewer in self.viewers.values()),
            "busy": (time.process_time() - tally.cpu) / wall,
            "seconds": wall,
            "codes": dict(tally.codes),
            **percentiles(latencies(tally.arrivals)),
        }


def latencies(arrivals: Counter[tuple[Seen, int]]) -> Counter[float]:
    """Lines by the milliseconds they took."""
    found: Counter[float] = Counter()
    for (seen, at), times in arrivals.items():
        for stamp, lines in seen.stamps:
            found[round((at * TENTH - stamp) / 1e6, 1)] += times * lines
    return found


def percentiles(latencies: Counter[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds, counted by lines."""
    total, passed, found = sum(latencies.values()), 0, {}
    for at, lines in sorted(latencies.items()):
        passed += lines
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            if name not in found and passed >= share * total:
                found[name] = float(at)
    return found


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    client = Client(**json.loads(sys.argv[1]))
    while True:
        client.turn(0.02)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not (order := sys.stdin.readline()):
                return
            given = json.loads(order)
            print(json.dumps(getattr(client, given.pop("do"))(**given)), flush=True)


if __name__ == "__main__":
    main()
