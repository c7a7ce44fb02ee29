"""Quake 3's status query, and its rcon; both are words after four 0xff bytes.

Source: ioquake3, code/server/sv_main.c (SVC_Status, SVC_RemoteCommand).
"""

import asyncio
import re
from collections.abc import AsyncIterator

from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import LARGEST, OUT_OF_BAND, MalformedError, clean, cut, udp

_COLOUR = re.compile(r"\^(?:X[0-9A-Fa-f]{6}|.)")
_PLAYER = re.compile(r'(-?[0-9]{1,9}) (-?[0-9]{1,9}) "(.*)"')
PLAYERS = 128
SILENCE = 0.3  # seconds without a packet that end an rcon answer, which has no end mark


async def query(host: str, port: int) -> AsyncIterator[QueryResult]:
    """Ask once. Raises `MalformedError` or `OSError`; waits for ever when no answer comes."""
    async with udp(host, port) as socket:
        socket.send(OUT_OF_BAND + b"getstatus\n")
        yield read_status(await socket.receive())


def read_status(packet: bytes) -> QueryResult:
    """A whole status packet. Players with ping 0 count as bots, as the protocol has no other sign of them."""
    head, _, body = packet.partition(b"\n")
    if head != OUT_OF_BAND + b"statusResponse":
        raise MalformedError("this is no status answer")
    variables, *lines = body.decode(errors="replace").split("\n")
    words = variables.removeprefix("\\").split("\\")
    facts = {key.lower(): value for key, value in zip(words[::2], words[1::2], strict=False)}
    found = [match for line in lines[:PLAYERS] if (match := _PLAYER.fullmatch(line))]
    players = tuple(
        Player(plain(name), int(score), ping=int(ping), bot=int(ping) == 0)
        for score, ping, name in (match.groups() for match in found)
    )
    if "mapname" not in facts:
        raise MalformedError("the status names no map")
    slots = facts.get("sv_maxclients", "")
    return QueryResult(
        name=plain(facts.get("sv_hostname", "")),
        map=clean(facts["mapname"]),
        players=len(players),
        max_players=int(slots) if re.fullmatch("[0-9]{1,4}", slots) else 0,
        bots=sum(player.bot for player in players),
        list=players,
    )


def plain(text: str) -> str:
    """Without colour codes and invisible characters, on one line."""
    return clean(without_colours(text))


def without_colours(text: str) -> str:
    """Without colour codes such as ^1."""
    return _COLOUR.sub("", text)


async def rcon(host: str, port: int, secret: str, text: str) -> str | None:
    """The answer to a command, or None when the password is refused. Raises `OSError` or `MalformedError`."""
    answer = bytearray()
    async with udp(host, port) as socket:
        socket.send(OUT_OF_BAND + f"rcon {secret} {text}\n".encode())
        packet = await socket.receive()
        while True:
            if not packet.startswith(OUT_OF_BAND + b"print\n"):
                raise MalformedError("this is no answer to a command")
            answer += packet[len(OUT_OF_BAND) + 6 :]
            if len(answer) > LARGEST:
                break
            try:
                async with asyncio.timeout(SILENCE):
                    packet = await socket.receive()
            except TimeoutError:
                break
    if bytes(answer).strip() in (b"Bad rconpassword.", b"No rconpassword set on the server."):
        return None
    return cut(without_colours(answer.decode(errors="replace")))
