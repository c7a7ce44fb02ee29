"""Config files written by hand: which a game's definition allows, what is wrong with one, and what becomes of them at a
start. `services/own_files.py` stores them, `specs.py` and `truth.py` put them over what the settings make."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from servers import games
from servers.games import placeholders
from servers.layers import lint
from servers.layers.writer import Refused, checked
from servers.models import Server, ServerFile
from servers.own_file_models import MOST_BYTES

TOLD = 5  # problems of a file in one answer
ASCII_ONLY = ("quake", "source")
COMMENTS = {"quake": "//", "source": "//", "teeworlds": "#", "ini": ";"}
SETTERS = {"set", "seta", "sets", "setu"}
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_PART = re.compile(r'"([^"]*)"?|([^\s";]+)|(;)')
_LONGEST = 200


@dataclass(frozen=True)
class ByHand:
    """What a line written by hand in the file `path` makes of a setting: its value, or a text that is none of them."""

    path: str
    value: Any


def generated(game: "games.Game") -> dict[str, Any]:
    """The files that the settings make, by path."""
    return {file.path: file for file in game.files}


def syntax_of(game: "games.Game", path: str) -> str:
    """How the game reads the file: its definition says of those it makes, and another .cfg is read as they are."""
    made = generated(game)
    if path in made:
        return str(made[path].syntax)
    if not path.lower().endswith(lint.CONSOLE_FILES):
        return "plain"
    return next((str(file.syntax) for file in game.files if file.path.endswith(lint.CONSOLE_FILES)), "source")


def check_path(game: "games.Game", path: str) -> str:
    """A sentence that says why no file of that name may be written by hand, or nothing."""
    try:
        name = PurePosixPath(checked(path))
    except Refused as error:
        return str(error)
    patterns = [PurePosixPath(pattern) for pattern in game.editable]
    if path in generated(game) or any(_matches(name, pattern) for pattern in patterns):
        return "" if str(name) == path else f"Write it as {name}."
    allowed = ", ".join([*generated(game), *game.editable])
    return f"{game.name} takes files by hand only at {allowed}." if allowed else f"{game.name} takes none by hand."


def _matches(name: PurePosixPath, pattern: PurePosixPath) -> bool:
    parts = zip(name.parts, pattern.parts, strict=False)
    return len(name.parts) == len(pattern.parts) and all(fnmatchcase(part, wanted) for part, wanted in parts)


def problems(game: "games.Game", path: str, text: str) -> list[str]:
    """What is wrong with the text, the first few sentences, each with line and column."""
    if len(text.encode(errors="replace")) > MOST_BYTES:
        return [f"A file may have {MOST_BYTES >> 10} KB at most. Put the rest into another one."]
    syntax = syntax_of(game, path)
    found = lint.problems(text, ascii_only=syntax in ASCII_ONLY)
    return [*islice(found, TOLD), *islice(_reserved_words(game, path, text, syntax), TOLD)][:TOLD]


def _reserved_words(game: "games.Game", path: str, text: str, syntax: str) -> Iterator[str]:
    if not (words := reserved(game)) or not is_config(game, path):
        return
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, words))})(?![\w.])", re.IGNORECASE)
    for number, line in enumerate(text.split("\n"), start=1):
        for match in pattern.finditer(_without_comment(line, syntax)):
            column = match.start() + 1
            yield f"Line {number}, column {column}: {match[0]} is for the portal alone to set. Take it out."


def is_config(game: "games.Game", path: str) -> bool:
    return path in generated(game) or path.lower().endswith(lint.CONSOLE_FILES)


def reserved(game: "games.Game") -> list[str]:
    """The names of what the portal fills in by itself: passwords it makes up, ports, addresses."""
    return sorted({name for name, kind, _ in _assigned(game) if kind != "setting"})


def _assigned(game: "games.Game") -> Iterator[tuple[str, str, str]]:
    """Each name that a line of the game's files gives a value to, and what placeholder that is."""
    for file in game.files:
        for line in file.lines:
            for kind, key, _ in placeholders.find(line):
                if names := _NAME.findall(line.partition("{")[0]):
                    yield names[-1], kind, key


def _without_comment(line: str, syntax: str) -> str:
    """The line up to a comment, which begins between words and outside quotes."""
    if not (mark := COMMENTS.get(syntax)) or mark not in line:
        return line
    code = re.match(rf'(?:"[^"]*"?|(?!(?:^|(?<=[\s;"])){mark})[^"])*', line)
    return code[0] if code else line


def by_hand(game: "games.Game", files: Iterable[ServerFile]) -> dict[str, ByHand]:
    """By key, what lines after the generated ones make of a setting; of several the last one holds."""
    keys = {name.lower(): key for name, kind, key in _assigned(game) if kind == "setting"}
    keys |= {setting.cvar.lower(): setting.key for setting in game.settings if setting.cvar}
    found, made = {}, generated(game)
    for file in files:
        for name, text in _commands(file.text, made[file.path].syntax) if file.path in made else ():
            if name.lower() in keys:
                key = keys[name.lower()]
                found[key] = ByHand(file.path, game.settings_by_key[key].read(text[:_LONGEST]))
    return found


def _commands(text: str, syntax: str) -> Iterator[tuple[str, str]]:
    """Each command that gives a name a value."""
    for line in text.splitlines():
        words: list[str] = []
        for match in [*_PART.finditer(_without_comment(line, syntax)), None]:
            if match and not match[3]:
                words.append(match[1] if match[2] is None else match[2])
                continue
            rest = words[1:] if words and words[0].lower() in SETTERS else words
            if len(rest) > 1:
                yield rest[0], " ".join(word for word in rest[1:] if word != "=")
            words = []


def for_start(server: Server, log: Callable[[str], None]) -> list[ServerFile]:
    """Of a server's files those that its game still allows; `log` is told of the others."""
    game, allowed = games.get(server.game), []
    for file in server.own_files.all():
        if wrong := check_path(game, file.path) or " ".join(problems(game, file.path, file.text)[:1]):
            log(f"{file.path}, written by hand, is left out. {wrong}")
        else:
            allowed.append(file)
    return allowed


def put_over(made: Mapping[str, bytes], files: Iterable[ServerFile]) -> dict[str, bytes]:
    """The config files of a start, by path: what the settings make with lines by hand after it, and files by hand."""
    result = dict(made)
    for file in files:
        text = file.text if file.text.endswith("\n") or not file.text else f"{file.text}\n"
        result[file.path] = result.get(file.path, b"") + text.encode()
    return result
