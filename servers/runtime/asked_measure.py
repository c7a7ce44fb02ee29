"""Asks left4me-measure.service what a server's own files take (servers/runtime/measure_service.py)."""

import json
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from servers.runtime.measuring import Measure

SOCKET = "/run/left4me/measure.sock"
STEP = 0.1  # seconds that a step waits for an answer
BUFFER_MOST = 1 << 16  # bytes; an answer is a line of about a hundred


class AskedMeasure(Measure):
    """A `Measure` that somebody else does. Where nobody answers, it counts what this process may see."""

    def __init__(self, name: str, folders: Sequence[tuple[Path, float]], *, enough: int | None = None) -> None:
        super().__init__(folders, enough=enough)
        self._buffer = b""
        self._connection = _ask({"name": name, "enough": enough})

    def step(self) -> bool:
        if self._connection is None:
            return super().step()
        if not select.select([self._connection], [], [], STEP)[0]:
            return False
        try:
            return self._hear(self._connection.recv(4096))
        except (OSError, ValueError, KeyError):
            self._give_up()
            return False

    def _hear(self, piece: bytes) -> bool:
        self._buffer += piece
        if not piece or len(self._buffer) > BUFFER_MOST:
            raise ValueError("no answer")
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            found = json.loads(line)
            self.size, self.is_cut, self.is_deep = found["size"], found["is_cut"], found["is_deep"]
            if found["is_done"]:
                return True
        return False

    def _give_up(self) -> None:
        self._hang_up()
        self.size, self.is_cut, self.is_deep = 0, False, False

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def close(self) -> None:
        self._hang_up()
        super().close()


def _ask(question: dict[str, object]) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(STEP)
    with suppress(OSError):
        connection.connect(SOCKET)
        connection.sendall(json.dumps(question).encode() + b"\n")
        return connection
    connection.close()
    return None
