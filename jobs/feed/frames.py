"""Frames of the sockets: encoded once, then written as they are to every viewer who stands at the same number."""

import json
import struct
from typing import Any

FINAL_TEXT = 0x81  # RFC 6455, 5.2: FIN and opcode 1; a server does not mask


class Frame:
    """One message: `wire` is the whole unmasked WebSocket frame, `text` the JSON in it."""

    __slots__ = ("_head", "wire")

    def __init__(self, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", FINAL_TEXT, size)
        elif size < 65_536:
            head = struct.pack("!BBH", FINAL_TEXT, 126, size)
        else:
            head = struct.pack("!BBQ", FINAL_TEXT, 127, size)
        self._head = len(head)
        self.wire = head + payload

    @property
    def text(self) -> str:
        return self.wire[self._head :].decode()


def message(**fields: Any) -> Frame:
    """`{"type": …, …}`"""
    return Frame(json.dumps(fields, separators=(",", ":")).encode())


def lines(rows: str) -> Frame:
    """A "lines" message of rows that the database already wrote as JSON, without the outer brackets."""
    return Frame(b'{"type":"lines","lines":[' + rows.encode() + b"]}")
