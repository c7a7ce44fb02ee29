"""Source's server queries: info and players.

Source: https://developer.valvesoftware.com/wiki/Server_queries
"""

import dataclasses

from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import LARGEST, OUT_OF_BAND, MalformedError, Reader, Udp, udp

INFO, PLAYERS = b"TSource Engine Query\0", b"U"
_NO_CHALLENGE = b"\xff\xff\xff\xff"
_CHALLENGES = 3  # some servers ask twice
_SPLIT = b"\xfe\xff\xff\xff"


async def query(host: str, port: int) -> QueryResult:
    """Ask once. Raises `MalformedError` or `OSError`; waits for ever when no answer comes."""
    async with udp(host, port) as socket:
        info = read_info(await _ask(socket, INFO, b""))
        players = read_players(await _ask(socket, PLAYERS, _NO_CHALLENGE))
    return dataclasses.replace(info, list=players)


async def _ask(socket: Udp, request: bytes, challenge: bytes) -> bytes:
    for _ in range(_CHALLENGES):
        socket.send(OUT_OF_BAND + request + challenge)
        answer = await _receive(socket)
        if answer[:1] != b"A":
            return answer
        challenge = answer[1:5]
    raise MalformedError("the server asks for one challenge after another")


async def _receive(socket: Udp) -> bytes:
    """One answer, put together from its parts where it has several."""
    parts: dict[int, bytes] = {}
    first = total = None
    while True:
        reader = Reader(await socket.receive())
        head = reader.take(4)
        if head == OUT_OF_BAND:
            return reader.rest
        if head != _SPLIT:
            raise MalformedError("the packet is neither whole nor a part")
        number, count, index, _size = reader.number("L"), reader.number("B"), reader.number("B"), reader.number("H")
        if number & 0x80000000:
            raise MalformedError("the answer is compressed, which no game of today does")
        first, total = (number, count) if first is None else (first, total)
        if (number, count) != (first, total) or index >= count:
            continue  # a late part of an earlier answer
        parts[index] = reader.rest
        if sum(map(len, parts.values())) > LARGEST:
            raise MalformedError("the answer is too long")
        if len(parts) == count:
            return b"".join(parts[index] for index in range(count)).removeprefix(OUT_OF_BAND)


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
