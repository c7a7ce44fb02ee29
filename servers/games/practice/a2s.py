"""Answers Source's server queries over UDP: info, players and rules, each only against a challenge.

Source: https://developer.valvesoftware.com/wiki/Server_queries
"""

import asyncio
import hashlib
import hmac
import os
import struct
from itertools import count
from typing import cast

from .world import HIDDEN, World

SINGLE, SPLIT = b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff"
INFO = b"TSource Engine Query\0"
PART = 1200
_split_ids = count(1)


def _text(value: str) -> bytes:
    return value.encode(errors="replace").replace(b"\0", b"") + b"\0"


def info(world: World, port: int) -> bytes:
    cvars = world.cvars
    head = (
        b"I\x11" + _text(cvars["hostname"]) + _text(cvars["map"]) + _text("practice") + _text("Practice demonstration")
    )
    numbers = struct.pack("<HBBB", 0, len(world.players), world.max_players, 0)
    flags = b"dl" + bytes([bool(cvars["sv_password"]), 0])
    return head + numbers + flags + _text("1.0.0.0") + b"\xa0" + struct.pack("<H", port) + _text(cvars["sv_tags"])


def players(world: World) -> bytes:
    rows = [
        bytes([0]) + _text(player.name) + struct.pack("<lf", player.score, player.seconds)
        for player in world.players[:255]
    ]
    return b"D" + bytes([len(rows)]) + b"".join(rows)


def rules(world: World) -> bytes:
    shown = {name: value for name, value in sorted(world.cvars.items()) if name not in HIDDEN}
    return b"E" + struct.pack("<H", len(shown)) + b"".join(_text(name) + _text(value) for name, value in shown.items())


def packets(payload: bytes) -> list[bytes]:
    """The datagrams that carry `payload`: one, or numbered parts of a size that needs no fragmenting."""
    whole = SINGLE + payload
    if len(whole) <= PART:
        return [whole]
    parts = [whole[start : start + PART] for start in range(0, len(whole), PART)]
    number = next(_split_ids) & 0x7FFFFFFF
    return [SPLIT + struct.pack("<lBBH", number, len(parts), i, PART) + part for i, part in enumerate(parts)]


class A2S(asyncio.DatagramProtocol):
    """One UDP socket. What is not a known query is dropped, as a game server does."""

    def __init__(self, world: World, port: int) -> None:
        self.world = world
        self.port = port
        self._key = os.urandom(16)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # no subclass of it before Python 3.12

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if not data.startswith(SINGLE):
            return
        answer, given = self._answer(data[4:])
        if not answer:
            return
        # The sender has to be where it says: otherwise a small forged query would make a large reply to a victim.
        challenge = hmac.digest(self._key, repr(address).encode(), hashlib.sha256)[:4]
        if given != challenge:
            self.transport.sendto(SINGLE + b"A" + challenge, address)
            return
        for packet in packets(answer):
            self.transport.sendto(packet, address)

    def _answer(self, request: bytes) -> tuple[bytes, bytes]:
        if request.startswith(INFO):
            return info(self.world, self.port), request[len(INFO) :]
        if request[:1] == b"U":
            return players(self.world), request[1:]
        if request[:1] == b"V":
            return rules(self.world), request[1:]
        return b"", b""
