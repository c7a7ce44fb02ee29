"""Reads what a console answers when it is given a setting's name alone: the value that holds now.

Sources: Source and ioquake3 print `"name" = "value"` and `"name" is:"value^7"`; Teeworlds prints `Value: value`.
"""

import re

from servers.protocols.quake3 import plain
from servers.protocols.wire import clean

_QUOTED = r'"{name}"\s*(?:=|is:)\s*"(?P<value>[^"]*)"'
_TEEWORLDS = re.compile(r"Value: (?P<value>.*)")


def read_value(protocol: str, name: str, answer: str) -> str | None:
    """The value of `name` in the answer of a definition's `console.protocol`; None when it is not told."""
    pattern = _TEEWORLDS if protocol == "teeworlds-econ" else re.compile(_QUOTED.format(name=re.escape(name)), re.I)
    for line in answer.split("\n"):
        if match := pattern.search(line):
            return plain(match["value"]) if protocol == "quake3-rcon" else clean(match["value"], 400)
    return None
