"""Teeworlds 0.7: its server info query, which needs a token first, and its external console.

Source: teeworlds 0.7, src/engine/shared/network.{h,cpp} and src/engine/server/server.cpp (GenerateServerInfo).
"""

import os
from collections.abc import AsyncIterator

from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import OUT_OF_BAND, MalformedError, Reader, udp

_CONTROL = b"\x04\0\0"  # flag “control”, no acknowledgement, no chunks
_NO_TOKEN = b"\xff\xff\xff\xff"
_TOKEN = b"\x05"
_REQUEST_BYTES = 512  # a token request is that long, so that its answer is never larger
_CONNECTIONLESS = b"\x21"  # flag “connectionless”, version 1
_ASK, _INFO = OUT_OF_BAND + b"gie3", OUT_OF_BAND + b"inf3"
_BOT = 2


async def query(host: str, port: int) -> AsyncIterator[QueryResult]:
    """Ask once. Raises `MalformedError` or `OSError`; waits for ever when no answer comes."""
    own = os.urandom(3).hex().encode()[:4]
    async with udp(host, port) as socket:
        socket.send(_CONTROL + _NO_TOKEN + _TOKEN + own + bytes(_REQUEST_BYTES - len(own)))
        reader = Reader(await socket.receive())
        if reader.take(3) != _CONTROL or reader.take(4) != own or reader.take(1) != _TOKEN:
            raise MalformedError("this is no token")
        socket.send(_CONNECTIONLESS + reader.take(4) + own + _ASK + b"\0")
        answer = await socket.receive()
        while answer.startswith(_CONTROL):  # one more token: a game may answer twice
            answer = await socket.receive()
        yield read_info(answer)


def read_info(packet: bytes) -> QueryResult:
    """A whole info packet."""
    reader = Reader(packet)
    if reader.take(1) != _CONNECTIONLESS:
        raise MalformedError("this is no connectionless packet")
    reader.take(8)
    if reader.take(len(_INFO)) != _INFO:
        raise MalformedError("this is no info answer")
    _number(reader)
    _version, name, _host, level, _type = (reader.text() for _ in range(5))
    _flags, _skill, _playing, _slots, clients, most = (_number(reader) for _ in range(6))
    if not 0 <= clients <= 255 or not 0 <= most <= 255:
        raise MalformedError("the counts are impossible")
    players = []
    for _ in range(clients):
        if not reader.rest:
            break  # not everybody fits into one packet
        who, _clan = reader.text(), reader.text()
        _country, score, kind = (_number(reader) for _ in range(3))
        players.append(Player(who, score, bot=kind == _BOT))
    bots = sum(player.bot for player in players)
    return QueryResult(name, level, clients, most, bots, tuple(players))


def _number(reader: Reader) -> int:
    """A packed number: six bits and a sign in the first byte, seven bits in up to four more."""
    byte = reader.number("B")
    negative, value, shift = byte & 0x40, byte & 0x3F, 6
    while byte & 0x80:
        if shift > 27:
            raise MalformedError("a number does not end")
        byte = reader.number("B")
        value |= (byte & 0x7F) << shift
        shift += 7
    return ~value if negative else value
