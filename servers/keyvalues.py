"""Valve's KeyValues text, read as tolerantly as the games do: what is malformed ends it, what came before counts.

Format: https://developer.valvesoftware.com/wiki/KeyValues. Hostile input: a bounded loop, no recursion.
"""

import re
from typing import TypeAlias

Pairs: TypeAlias = "list[tuple[str, str | Pairs]]"

MOST_TOKENS, DEPTH, TEXT = 50_000, 32, 200
# A quoted text, a brace, or a bare word; comments and conditions such as [$X360] are skipped. A quote that nothing ends
# takes all the rest, once: at each later quote the rest would be read again.
TOKEN = re.compile(
    r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|(?P<open>\\?\Z))|([{}])|//[^\n]*|\[[^\]\n]{0,80}\]|([^\s"{}]+)', re.DOTALL
)


def decode(data: bytes) -> str:
    """Text in whatever encoding its first bytes say, else UTF-8 or what Windows wrote."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def parse(text: str) -> Pairs:
    """The pairs of keys with texts or tables, in their order."""
    top: Pairs = []
    open_tables, key = [top], None
    for number, match in enumerate(TOKEN.finditer(text)):
        quoted, unended, brace, bare = match.groups()
        if number > MOST_TOKENS or unended is not None:
            break
        if brace == "{":
            inner: Pairs = []
            if key is None or len(open_tables) > DEPTH:
                break
            open_tables[-1].append((key, inner))
            open_tables.append(inner)
            key = None
        elif brace == "}":
            if len(open_tables) == 1:
                break
            open_tables.pop()
            key = None
        elif (word := quoted if quoted is not None else bare) is not None:
            if key is None:
                key = word
            else:
                open_tables[-1].append((key, word))
                key = None
    return top


def tables(pairs: Pairs) -> list[tuple[str, Pairs]]:
    """The keys whose values are tables."""
    return [(printable(key), value) for key, value in pairs if isinstance(value, list)]


def table(pairs: Pairs, name: str) -> Pairs:
    """The first table of that key, in whatever case; empty when there is none."""
    return next((value for key, value in tables(pairs) if key.lower() == name), [])


def text(pairs: Pairs, name: str) -> str:
    """The first text of that key, in whatever case, on one line; empty when there is none."""
    found = (value for key, value in pairs if isinstance(value, str) and key.lower() == name)
    return printable(next(found, ""))


def printable(value: str) -> str:
    """Bounded, and without what no database or page holds."""
    return "".join(character for character in value[:TEXT] if character.isprintable()).strip()
