"""How a member's text may stand in a config file or an argument: quoted by the syntax, or refused with a sentence.

Quake's and Source's consoles know no escape inside quotes and split commands at `;`, so what they cannot hold is
refused, never rewritten: a member finds the text of the server exactly as typed, or learns which character to change.
Only a message for the chat is rewritten, by signs that look alike.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Syntax(StrEnum):
    """Where a value is written to: a file's console language, a `key = value` file, plain text, or an argument."""

    QUAKE = "quake"
    SOURCE = "source"
    TEEWORLDS = "teeworlds"
    INI = "ini"
    PLAIN = "plain"
    ARGV = "argv"


class RefusedError(ValueError):
    """A value cannot be written in a syntax; the text says which character and what to do."""


def _quoted(value: str) -> str:
    return f'"{value}"'


def _escaped(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True)
class _Rule:
    forbidden: str = ""
    ascii_only: bool = False
    write: Callable[[str], str] = str
    whole_word: bool = False  # a placeholder must stand alone, since it becomes one quoted word


_CONSOLE = _Rule(forbidden='";\\', ascii_only=True, write=_quoted, whole_word=True)
_RULES = {
    Syntax.QUAKE: _CONSOLE,
    Syntax.SOURCE: _CONSOLE,
    Syntax.TEEWORLDS: _Rule(write=_escaped, whole_word=True),
    Syntax.INI: _Rule(forbidden="\"';#\\"),
    Syntax.PLAIN: _Rule(),
    Syntax.ARGV: _Rule(ascii_only=True),
}
# Games parse their arguments again: ioquake3 joins them into one line of console text, srcds takes a leading - or +
# for an option. These characters mean nothing to any of them.
_ARGUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:@=/-]*")


# What a chat cannot hold is replaced by what looks most like it: quotes end an argument, `;` a command. In Source and
# Teeworlds the text is UTF-8, none of whose other bytes is one of these; Quake 3 knows plain ASCII.
_CHAT = {
    Syntax.SOURCE: str.maketrans({'"': "”", ";": ",", "\\": "/"}),
    Syntax.QUAKE: str.maketrans(
        dict.fromkeys('"“”„«»‘’‚', "'") | {";": ",", "\\": "/", "–": "-", "—": "-", "…": "..."}
    ),
}


def chat(text: str, syntax: Syntax) -> str:
    """The text as a game's chat can have it, in one line."""
    line = "".join(character if character.isprintable() else " " for character in text)
    if syntax is not Syntax.QUAKE:
        return line.translate(_CHAT.get(syntax, {})).strip()
    # First what letters are made of, since that may bring the very signs that are replaced then.
    plain = "".join(part for part in unicodedata.normalize("NFKD", line) if not unicodedata.combining(part))
    return plain.translate(_CHAT[syntax]).encode("ascii", "replace").decode().strip()


def write_chat(text: str, syntax: Syntax) -> str:
    """That as one argument."""
    return _RULES[syntax].write(chat(text, syntax))


def needs_whole_word(syntax: Syntax) -> bool:
    """Whether a placeholder has to stand between blanks in this syntax."""
    return _RULES[syntax].whole_word


def write(value: str, syntax: Syntax) -> str:
    """`value` as it is written in `syntax`; `RefusedError` when it cannot be."""
    rule = _RULES[syntax]
    for column, character in enumerate(value, 1):
        if not character.isprintable():
            raise RefusedError(f"may not hold line breaks or invisible characters (column {column}). Use one line.")
        if character in rule.forbidden:
            raise RefusedError(
                f"may not hold {character} (column {column}): the game's config files give it a meaning. Leave it out."
            )
        if rule.ascii_only and not character.isascii():
            raise RefusedError(
                f"may not hold {character} (column {column}). "
                "The game reads only plain English letters, digits and signs."
            )
    if syntax is Syntax.ARGV and not _ARGUMENT.fullmatch(value):
        raise RefusedError("may hold only letters, digits and _ . , : @ = / - and must begin with a letter or digit.")
    return rule.write(value)
