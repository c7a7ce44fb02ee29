"""Reads what consoles answer to `status`: who plays, with the number that kick and ban take. Names are hostile.

Sources: Source engine, `status` of srcds (L4D2 adds a slot after the userid); ioquake3, code/server/sv_ccmds.c
(SV_Status_f); teeworlds 0.7, src/engine/server/server.cpp (ConStatus).
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from servers.protocols.wire import clean

PLAYERS = 255
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # Hangul's fillers and the empty Braille cell, which count as letters or signs
LONGEST_LINE = 500
# Of a name's quotes or blanks the last end it, since the columns after it can hold none.
_SOURCE = re.compile(r'#\s*(?P<id>\d{1,9})(?:\s+\d{1,9})?\s+"(?P<name>.*)"\s+(?P<unique>\S+)(?P<rest>[^"]*)')
_SOURCE_REST = re.compile(r"\s+(?P<connected>\d{1,4}(?::\d\d){1,2})\s+(?P<ping>\d{1,6})\s.*")
# `players : 0 humans, 0 bots (4 max) (hibernating) (reserved 18600000a1b2c3d)`; no name can begin a line like that.
_MARKS = re.compile(r"^players\s*: .*\((?P<awake>not )?hibernating\) \((?P<free>un)?reserved[^)]*\)", re.M)
_QUAKE3 = re.compile(
    r"\s*(?P<id>\d{1,4})\s+-?\d{1,9}\s+(?P<ping>\d{1,6}|[A-Z]{4})\s(?P<name>.*\S)\s+(?P<from>\S+)\s+\d{1,9}\s*"
)
_TEEWORLDS = re.compile(r".*?\bid=(?P<id>\d{1,4}) addr=\S+ client=\S+ name='(?P<name>.*)' score=-?\d+.*")


@dataclass(frozen=True)
class Listed:
    """Somebody on a server. `id` is what the console's commands take; `seconds` since joining, `ping` in ms."""

    id: int
    name: str
    ping: int | None = None
    seconds: int | None = None
    bot: bool = False

    @property
    def shown(self) -> str:
        """The name, or words for one of which nothing can be seen."""
        return shown_name(self.name)


@dataclass(frozen=True)
class Roll:
    """All of the answer. `hibernating`: it rests until somebody joins. `reserved`: a lobby holds it, so that nobody
    else gets in. Both are None where the game does not say so; of ours only Source does."""

    players: tuple[Listed, ...]
    hibernating: bool | None = None
    reserved: bool | None = None


def shown_name(name: str) -> str:
    """A name for reading: games let players have none, or one of signs that leave no mark."""
    marks = (c for c in name if c not in BLANK and unicodedata.category(c)[0] not in "ZCM")
    return name if any(marks) else "(no name)"


def read_roll(kind: str, answer: str) -> Roll:
    """By a definition's `actions.players`."""
    marks = _MARKS.search(answer) if kind == "source" else None
    return Roll(
        players=read_players(kind, answer),
        hibernating=not marks["awake"] if marks else None,
        reserved=not marks["free"] if marks else None,
    )


def read_players(kind: str, answer: str) -> tuple[Listed, ...]:
    """Who plays, by a definition's `actions.players`. What is no player's line is passed over; a number that stands
    there twice names nobody, for one of the two lines must be forged."""
    read = {"source": _source, "quake3": _quake3, "teeworlds": _teeworlds}[kind]
    lines = answer.split("\n")[: 4 * PLAYERS]
    found = [player for line in lines if (player := read(line[:LONGEST_LINE].rstrip("\r")))]
    often = Counter(player.id for player in found)
    return tuple(player for player in found if often[player.id] == 1)[:PLAYERS]


def _source(line: str) -> Listed | None:
    if not (match := _SOURCE.fullmatch(line)):
        return None
    rest = _SOURCE_REST.fullmatch(match["rest"])
    seconds = None
    if rest:
        seconds = 0
        for part in rest["connected"].split(":"):
            seconds = seconds * 60 + int(part)
    return Listed(
        id=int(match["id"]),
        name=clean(match["name"]),
        ping=int(rest["ping"]) if rest else None,
        seconds=seconds,
        bot=match["unique"] == "BOT",
    )


def _quake3(line: str) -> Listed | None:
    if not (match := _QUAKE3.fullmatch(line)):
        return None
    ping = int(match["ping"]) if match["ping"].isdecimal() else None
    return Listed(id=int(match["id"]), name=clean(match["name"]), ping=ping, bot=match["from"] == "bot")


def _teeworlds(line: str) -> Listed | None:
    match = _TEEWORLDS.fullmatch(line)
    return Listed(id=int(match["id"]), name=clean(match["name"])) if match else None
