"""What all protocols share: one UDP exchange with a bounded buffer, and a reader that cannot run past the end."""

import asyncio
import contextlib
import math
import struct
from collections.abc import AsyncIterator
from typing import cast

PACKETS = 512  # of one conversation, empty and surplus ones among them; a game that sends more ends it
LARGEST = 64 * 1024  # bytes of one answer, over all its packets
CUT = "… (the answer is longer than 64 KiB and was cut here)"
TEXT = 120  # characters of a name, as shown
OUT_OF_BAND = b"\xff\xff\xff\xff"


class MalformedError(Exception):
    """A packet is not what the protocol says."""


class Udp(asyncio.DatagramProtocol):
    """One conversation with one address; packets of others never arrive, since the socket is connected."""

    def __init__(self) -> None:
        self._packets: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._packets_left, self._bytes_left = PACKETS, 4 * LARGEST

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # no subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._packets_left -= 1
        self._bytes_left -= len(data)
        if min(self._packets_left, self._bytes_left) < 0:
            self.transport.abort()  # so that a flood costs the event loop nothing more
            self._packets.put_nowait(MalformedError("the game does not stop talking"))
        else:
            self._packets.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self._packets.put_nowait(exc)

    def send(self, data: bytes) -> None:
        self.transport.sendto(data)

    async def receive(self) -> bytes:
        """The next packet. Raises `OSError`, such as when nothing listens there, or `MalformedError` in a flood."""
        item = await self._packets.get()
        if isinstance(item, Exception):
            raise item
        return item


@contextlib.asynccontextmanager
async def udp(host: str, port: int) -> AsyncIterator[Udp]:
    """A UDP conversation with `host`, closed on leaving. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Udp, remote_addr=(host, port))
    try:
        yield protocol
    finally:
        transport.close()


class Reader:
    """Reads a packet from its start; `MalformedError` where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise MalformedError("the packet ends too early")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, layout: str) -> int:
        """A little-endian whole number, `layout` as in `struct`."""
        return cast(int, struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0])

    def seconds(self) -> int:
        """A float of seconds as a whole number; nonsense becomes 0."""
        (value,) = struct.unpack("<f", self.take(4))
        return int(value) if math.isfinite(value) and 0 <= value < 2**31 else 0

    def text(self) -> str:
        """Text up to a NUL."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise MalformedError("a text does not end")
        text = self._data[self._at : end]
        self._at = end + 1
        return clean(text)


def clean(text: bytes | str, limit: int = TEXT) -> str:
    """Text of a game on one line, without invisible characters and not longer than `limit`."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return "".join(character for character in text[: 2 * limit] if character.isprintable()).strip()[:limit]


def cut(answer: str) -> str:
    """An answer that is no longer than `LARGEST` characters; a longer one ends at a line's end and says so."""
    if len(answer) <= LARGEST:
        return answer
    kept = answer[: LARGEST - len(CUT) - 1]
    return f"{kept.rpartition(chr(10))[0] or kept}\n{CUT}"
