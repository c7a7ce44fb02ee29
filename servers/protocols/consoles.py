"""Remote consoles over TCP: Source RCON, and Teeworlds' external console.

Sources: https://developer.valvesoftware.com/wiki/Source_RCON_Protocol; teeworlds 0.7, src/engine/shared/econ.cpp.
"""

import asyncio
import contextlib
import re
import secrets
import struct
from collections.abc import AsyncIterator

from servers.protocols.wire import LARGEST, MalformedError

_AUTH, _AUTH_ANSWER, _COMMAND, _ANSWER = 3, 2, 2, 0
_AUTH_ID, _COMMAND_ID, _END_ID = 1, 2, 3
_PACKET = 16 * 1024
_LINES = 10_000
_ABOUT_US = re.compile(r"\[(econ|server)\]: cid=\d+ (authed|cmd=)")  # the console tells of its own commands too


@contextlib.asynccontextmanager
async def _connection(host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, limit=LARGEST)
    try:
        yield reader, writer
    finally:
        writer.close()


async def source_rcon(host: str, port: int, secret: str, text: str) -> str | None:
    """The answer to a command, or None when the password is refused. Raises `OSError` or `MalformedError`."""
    async with _connection(host, port) as (reader, writer):
        writer.write(_packet(_AUTH_ID, _AUTH, secret))
        number, kind, _ = await _read(reader)
        while kind != _AUTH_ANSWER:
            number, kind, _ = await _read(reader)
        if number != _AUTH_ID:
            return None
        # A server answers in order, so its answer to the second packet says that the first is answered whole.
        writer.write(_packet(_COMMAND_ID, _COMMAND, text) + _packet(_END_ID, _ANSWER, ""))
        parts: list[bytes] = []
        while True:
            number, _kind, body = await _read(reader)
            if number == _END_ID or sum(map(len, parts)) > LARGEST:
                return b"".join(parts)[:LARGEST].decode(errors="replace")
            if number == _COMMAND_ID:
                parts.append(body)


def _packet(number: int, kind: int, body: str) -> bytes:
    content = struct.pack("<ll", number, kind) + body.encode() + b"\0\0"
    return struct.pack("<l", len(content)) + content


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    (size,) = struct.unpack("<l", await reader.readexactly(4))
    if not 10 <= size <= _PACKET:
        raise MalformedError("a packet has an impossible length")
    content = await reader.readexactly(size)
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
    return "\n".join(line for line in lines[:-1] if not _ABOUT_US.search(line))[:LARGEST]


async def _until(reader: asyncio.StreamReader, *marks: str) -> list[str]:
    """Lines up to the first that has one of `marks` in it, which is the last of them."""
    lines: list[str] = []
    while len(lines) < _LINES:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            raise MalformedError("a line does not end") from None
        lines.append(line.decode(errors="replace").strip("\0\r\n"))
        if any(mark in lines[-1] for mark in marks):
            return lines
    raise MalformedError("the console does not stop talking")
