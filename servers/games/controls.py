"""What the panel does with a running game: the commands its console takes, and those behind the panel's buttons."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from servers.games import placeholders
from servers.games.base import Model, fail
from servers.games.syntax import Syntax, chat, write, write_chat
from servers.games.values import Key
from servers.protocols.quake3 import without_colours

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.*-]+")
_SYNTAXES = {"source-rcon": Syntax.SOURCE, "quake3-rcon": Syntax.QUAKE, "teeworlds-econ": Syntax.TEEWORLDS}
_TAKES = {"kick": "player", "ban": "player", "say": "text", "changelevel": "map"}
_Line = Annotated[str, Field(min_length=1, max_length=200)]
_Pattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.*-]+( [A-Za-z0-9_.*-]+)*$")]


class Console(Model):
    """How a command is sent to the running game. `loopback`: the game listens for it on 127.0.0.1 only.

    `commands` are offered while somebody types. `safe` are those that change nothing and tell no secret: whoever may
    read the console may send them. In `safe`, a `*` by itself stands for any one plain word. `colours`: whose codes the
    game prints among its text.
    """

    protocol: Literal["source-rcon", "quake3-rcon", "teeworlds-econ"]
    port: Key = "game"
    secret: Key
    loopback: bool = False
    commands: tuple[_Line, ...] = ()
    safe: tuple[_Pattern, ...] = ()
    colours: Literal["quake"] | None = None

    def plain(self, line: str) -> str:
        """A line the game printed, without its codes for colours."""
        return without_colours(line) if self.colours else line

    def is_safe(self, text: str) -> bool:
        """Whether `text` is one of `safe`. Plain words only, so nothing in it can begin a second command."""
        words = text.split(" ")
        return all(map(_PLAIN_WORD.fullmatch, words)) and any(_fits(known.split(" "), words) for known in self.safe)


def _fits(pattern: list[str], words: list[str]) -> bool:
    return len(pattern) == len(words) and all(known in ("*", word) for known, word in zip(pattern, words, strict=True))


class Actions(Model):
    """Console lines behind the panel's buttons. `players`: how the answer to `status` lists who plays, with the numbers
    that commands take; `maps`: the setting whose choices or suggestions are the maps one may change to; `mode`: the one
    whose cvar says what is played."""

    players: Literal["source", "quake3", "teeworlds"] | None = None
    kick: tuple[_Line, ...] = ()
    ban: tuple[_Line, ...] = ()
    say: tuple[_Line, ...] = ()
    changelevel: tuple[_Line, ...] = ()
    maps: Key = "map"
    mode: Key | None = None

    @model_validator(mode="after")
    def _templates_hold(self) -> "Actions":
        for action, wanted in _TAKES.items():
            lines: tuple[str, ...] = getattr(self, action)
            found = [part for line in lines for part in placeholders.find(line)]
            if lines and {kind for kind, _, _ in found} != {wanted}:
                raise fail((action,), f"takes {{{wanted}}} and no other placeholder")
            if not all(alone and not key for _, key, alone in found):
                raise fail((action,), f"{{{wanted}}} becomes one word here: put blanks around it, and no quotes")
            if lines and wanted == "player" and not self.players:
                raise fail((action,), "needs `players`, which says how the game numbers them")
        return self

    def chat(self, text: str, console: Console) -> str:
        """A message as it will be read."""
        return chat(text, _SYNTAXES[console.protocol])

    def lines(self, action: str, value: str | int, console: Console) -> list[str]:
        """What to send for `action`, which takes one value: quoted as the console reads it. Raises `RefusedError`."""
        syntax = _SYNTAXES[console.protocol]
        write_text = write_chat if action == "say" else write
        written = str(value) if isinstance(value, int) else write_text(value, syntax)
        lines: tuple[str, ...] = getattr(self, action)
        return [placeholders.substitute(line, lambda kind, key: written) for line in lines]
