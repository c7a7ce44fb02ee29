"""Remote consoles over TCP: Source RCON, and Teeworlds' external console.

Sources: https://developer.valvesoftware.com/wiki/Source_RCON_Protocol; teeworlds 0.7, src/engine/shared/econ.cpp.
"""

import asyncio
import contextlib
import re
import secrets
import struct
from collections.abc import AsyncIterator

from servers.protocols.wire import LARGEST, MalformedError, cut

_AUTH, _AUTH_ANSWER, _COMMAND, _ANSWER = 3, 2, 2, 0
_AUTH_ID, _COMMAND_ID, _END_ID = 1, 2, 3
_PACKET = 16 * 1024
_PACKETS, _LINES = 1000, 4000  # of one conversation, empty ones among them
_ABOUT_US = re.compile(r"\[(econ|server)\]: cid=\d+ (authed|cmd=)")  # the console tells of its own commands too


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, limit=LARGEST)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # to close it would wait for a game that reads nothing


async def source_rcon(host: str, port: int, secret: str, text: str) -> str | None:
    """The answer to a command, or None when the password is refused. Raises `OSError` or `MalformedError`."""
    async with _connection(host, port) as (reader, writer):
        packets = _Packets(reader)
        writer.write(_packet(_AUTH_ID, _AUTH, secret))
        number, kind, _ = await packets.next()
        while kind != _AUTH_ANSWER:
            number, kind, _ = await packets.next()
        if number != _AUTH_ID:
            return None
        # A server answers in order, so its answer to the second packet says that the first is answered whole.
        writer.write(_packet(_COMMAND_ID, _COMMAND, text) + _packet(_END_ID, _ANSWER, ""))
        answer = bytearray()
        while number != _END_ID and len(answer) <= LARGEST:
            number, _, body = await packets.next()
            if number == _COMMAND_ID:
                answer += body
    return cut(answer.decode(errors="replace"))


def _packet(number: int, kind: int, body: str) -> bytes:
    content = struct.pack("<ll", number, kind) + body.encode() + b"\0\0"
    return struct.pack("<l", len(content)) + content


class _Packets:
    """Those of one conversation."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader, self._left = reader, _PACKETS

    async def next(self) -> tuple[int, int, bytes]:
        """Number, kind and body."""
        self._left -= 1
        if self._left < 0:
            raise MalformedError("the console does not stop talking")
        await asyncio.sleep(0)  # what is buffered is read without waiting, so no time limit would end that
        (size,) = struct.unpack("<l", await self._reader.readexactly(4))
        if not 10 <= size <= _PACKET:
            raise MalformedError("a packet has an impossible length")
        content = await self._reader.readexactly(size)
        number, kind = struct.unpack("<ll", content[:8])
        return number, kind, content[8:].split(b"\0", 1)[0]


async def teeworlds_econ(host: str, port: int, secret: str, text: str) -> str | None:
    """What the console prints until the command is done, or None when the password is refused.

    Lines of the game that come meanwhile are among them. Raises `OSError` or `MalformedError`.
    """
    mark = secrets.token_hex(8)
    async with _connection(host, port) as (reader, writer):
        await _until(reader, "Enter password:")
        writer.write(f"{secret}\n".encode())
        lines = await _until(reader, "Authentication successful", "Wrong password")
        if "Wrong password" in lines[-1]:
            return None
        writer.write(f"{text}\necho {mark}\n".encode())
        lines = await _until(reader, mark)
    return cut("\n".join(line for line in lines if mark not in line and not _ABOUT_US.search(line)))


async def _until(reader: asyncio.StreamReader, *marks: str) -> list[str]:
    """Lines up to the first that has one of `marks` in it, or that is more than an answer may have."""
    lines: list[str] = []
    size = 0
    while len(lines) < _LINES:
        await asyncio.sleep(0)  # as for packets
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise MalformedError("a line does not end") from None
        size += len(line)
        lines.append(line.decode(errors="replace").strip("\0\r\n"))
        if size > 2 * LARGEST or any(mark in lines[-1] for mark in marks):
            return lines
    raise MalformedError("the console does not stop talking")
