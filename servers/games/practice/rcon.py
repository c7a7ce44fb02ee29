"""Source RCON over TCP: password, commands, and answers in as many packets as they need.

Source: https://developer.valvesoftware.com/wiki/Source_RCON_Protocol
"""

import asyncio
import contextlib
import hmac
import struct

from .world import World

AUTH, AUTH_RESPONSE, COMMAND, RESPONSE = 3, 2, 2, 0
LARGEST, PART = 4096 + 10, 4000
CONNECTIONS = 16


def packet(number: int, kind: int, body: bytes) -> bytes:
    return struct.pack("<lll", len(body) + 10, number, kind) + body + b"\0\0"


class Rcon:
    """Serves connections; each has to give the password first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, struct.error):
                if self.open <= CONNECTIONS:
                    await self._talk(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        signed_in = False
        while True:
            (size,) = struct.unpack("<l", await reader.readexactly(4))
            if not 10 <= size <= LARGEST:
                return
            content = await reader.readexactly(size)
            number, kind = struct.unpack("<ll", content[:8])
            body = content[8:].split(b"\0", 1)[0]
            if kind == AUTH:
                signed_in = self._password_fits(body)
                writer.write(packet(number, RESPONSE, b""))
                writer.write(packet(number if signed_in else -1, AUTH_RESPONSE, b""))
                if not signed_in:
                    self.world.say(f"rcon: bad password from {writer.get_extra_info('peername')[0]}")
                    await asyncio.sleep(0.2)  # makes guessing slow
            elif signed_in:
                self._answer(writer, number, kind, body)
            await writer.drain()
            if not signed_in:
                return

    def _password_fits(self, given: bytes) -> bool:
        password = self.world.cvars["rcon_password"].encode()
        return bool(password) and hmac.compare_digest(given, password)

    def _answer(self, writer: asyncio.StreamWriter, number: int, kind: int, body: bytes) -> None:
        if kind == RESPONSE:
            # A real server echoes such a packet, which tells a client that the answers before it are complete.
            writer.write(packet(number, RESPONSE, b"") + packet(number, RESPONSE, b"\0\1\0\0"))
        elif kind == COMMAND:
            line = body.decode(errors="replace")
            self.world.say(f'rcon from "{writer.get_extra_info("peername")[0]}": command "{line}"')
            answer = self.world.execute(line).encode()
            for start in range(0, max(len(answer), 1), PART):
                writer.write(packet(number, RESPONSE, answer[start : start + PART]))
