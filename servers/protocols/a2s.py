"""Source's server queries: info and players.

Source: https://developer.valvesoftware.com/wiki/Server_queries
"""

import asyncio
import bz2
import dataclasses
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator

from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import LARGEST, OUT_OF_BAND, MalformedError, Reader, Udp, udp

INFO, PLAYERS = b"TSource Engine Query\0", b"U"
_NO_CHALLENGE = b"\xff\xff\xff\xff"
_CHALLENGES = 3  # some servers ask twice
_PLAYERS_SECONDS = 1.0  # whoever does not tell them must not be waited for each time
_ANSWERS = 16  # read of one question, surplus ones among them
_CHALLENGE = b"A"
_KNOWN = (_CHALLENGE, b"I", b"m", b"D", b"E")  # info, as it was before, players and rules
_SPLIT = b"\xfe\xff\xff\xff"
_COMPRESSED = 0x80000000


async def query(host: str, port: int) -> AsyncIterator[QueryResult]:
    """Ask once: first what the game says of itself, then the same with its players, which not every game tells.

    Raises `MalformedError` or `OSError`, `TimeoutError` without players; waits for ever when no answer comes.
    """
    async with udp(host, port) as socket:
        info = read_info(await _ask(socket, INFO, b"", b"I"))
        yield info
        async with asyncio.timeout(_PLAYERS_SECONDS):
            players = read_players(await _ask(socket, PLAYERS, _NO_CHALLENGE, b"D"))
        yield dataclasses.replace(info, list=players)


async def _ask(socket: Udp, request: bytes, challenge: bytes, kind: bytes) -> bytes:
    """The answer of that kind. Others are passed over: a game may answer twice, and late."""
    socket.send(OUT_OF_BAND + request + challenge)
    asked = 1
    for _ in range(_ANSWERS):
        answer = await _receive(socket)
        if answer[:1] == kind:
            return answer
        if answer[:1] not in _KNOWN:
            raise MalformedError("this is no answer to the question")
        if answer[:1] == _CHALLENGE and answer[1:5] != challenge and asked < _CHALLENGES:
            challenge, asked = answer[1:5], asked + 1
            socket.send(OUT_OF_BAND + request + challenge)
    raise MalformedError("the server answers everything but the question")


async def _receive(socket: Udp) -> bytes:
    """One answer, put together from its parts where it has several."""
    answers: dict[tuple[int, int], dict[int, bytes]] = defaultdict(dict)
    size = 0
    while True:
        packet = await socket.receive()
        size += len(packet)
        if size > LARGEST:
            raise MalformedError("the answer is too long")
        reader = Reader(packet)
        head = reader.take(4)
        if head == OUT_OF_BAND:
            return reader.rest
        if head != _SPLIT:
            raise MalformedError("the packet is neither whole nor a part")
        number, count, index, _size = reader.number("L"), reader.number("B"), reader.number("B"), reader.number("H")
        parts = answers[number, count]  # by answer: late parts of an earlier one are in nobody's way
        if index < count:
            parts[index] = reader.rest
        if parts and len(parts) == count:
            whole = b"".join(parts[index] for index in range(count))
            return (_unpack(whole) if number & _COMPRESSED else whole).removeprefix(OUT_OF_BAND)


def _unpack(packed: bytes) -> bytes:
    """What bzip2 made small, after the size and the checksum of the whole."""
    reader = Reader(packed)
    size, checksum = reader.number("L"), reader.number("L")
    if size > LARGEST:
        raise MalformedError("the answer is too long")
    try:
        whole = bz2.BZ2Decompressor().decompress(reader.rest, size)
    except (OSError, ValueError):
        whole = b""
    if len(whole) != size or zlib.crc32(whole) != checksum:
        raise MalformedError("the answer is compressed, and damaged")
    return whole


def read_info(answer: bytes) -> QueryResult:
    """All of an info answer but the players' names, which are asked for apart."""
    reader = Reader(answer)
    if reader.take(1) != b"I":
        raise MalformedError("this is no info answer")
    reader.take(1)
    name, level, _folder, _game = reader.text(), reader.text(), reader.text(), reader.text()
    reader.take(2)
    players, most, bots = reader.number("B"), reader.number("B"), reader.number("B")
    return QueryResult(name, level, players, most, bots)


def read_players(answer: bytes) -> tuple[Player, ...]:
    """Those who play; who is still connecting has no name yet and is left out."""
    reader = Reader(answer)
    if reader.take(1) != b"D":
        raise MalformedError("this is no players answer")
    players = []
    for _ in range(reader.number("B")):
        if not reader.rest:
            break  # the count includes some who are not listed
        reader.take(1)
        name, score, seconds = reader.text(), reader.number("l"), reader.seconds()
        players.append(Player(name, score, seconds))
    return tuple(player for player in players if player.name)
