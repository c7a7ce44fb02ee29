"""Reads one definition file; what is wrong with it is told as file, line, key and mend."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from servers.games.base import Path as KeyPath
from servers.games.schema import Game

LARGEST = 256 * 1024
_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\s-]+?)\s*\]\]?\s*(?:#.*)?$")
_MESSAGES = {
    "missing": "is missing: add it",
    "tuple_type": "has to be a list",
    "too_short": "may not be empty",
    "union_tag_invalid": "has an unknown {discriminator}, '{tag}'; use one of {expected_tags}",
    "union_tag_not_found": "has no {discriminator}: add it",
}
_KEY = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*=")


class DefinitionError(Exception):
    """A definition cannot be used; the text is one line for each thing to mend."""


def load(path: Path) -> Game:
    """The game that `path` defines; its slug is the file's name. `DefinitionError` when anything is wrong."""
    try:
        if path.stat().st_size > LARGEST:
            raise DefinitionError(f"{path}: is larger than {LARGEST // 1024} KiB, which no definition is")
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(f"{path}: is not TOML: {error}") from None
    try:
        game = Game.model_validate(data)
    except ValidationError as error:
        raise DefinitionError("\n".join(_problems(path, text, data, error))) from None
    if game.slug != path.stem:
        raise DefinitionError(f"{path}:{line_of(text, ('slug',))}: slug has to be {path.stem!r}, as the file is named")
    return game


def _problems(path: Path, text: str, data: dict[str, Any], error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_url=False):
        context = item.get("ctx", {})
        where = _in_file(data, item["loc"]) + tuple(context.get("path", ()))
        if item["type"] == "too_short" and _value(data, where):
            continue  # its items are wrong, which is told of each
        if item["type"] in _MESSAGES:
            message = _MESSAGES[item["type"]].format_map(context)
        else:
            message = item["msg"].replace("Input should be", "has to be")
        yield f"{path}:{line_of(text, where)}: {_shown(where) or 'the definition'} {message[0].lower()}{message[1:]}"


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def _in_file(data: Any, loc: KeyPath) -> KeyPath:
    """A place as pydantic names it, without the tags it adds for the variants of a table."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(data, dict) and part not in data and part in (data.get("type"), data.get("method")):
            continue
        path.append(part)
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
    return tuple(path)


def _shown(path: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def line_of(text: str, path: KeyPath) -> int:
    """The line of the longest part of `path` that `text` spells out, or 1; tomllib itself keeps no lines."""
    lines = dict(_places(text))
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _places(text: str) -> Iterator[tuple[KeyPath, int]]:
    """Each table and key with its line; arrays of tables are numbered as tomllib numbers them."""
    table: KeyPath = ()
    counts: dict[str, int] = {}
    in_string = False
    for number, line in enumerate(text.splitlines(), 1):
        inside, in_string = in_string, in_string ^ bool((line.count('"""') + line.count("'''")) % 2)
        if inside:
            continue
        if match := _HEADER.match(line):
            name = match[2]
            table = tuple(name.split("."))
            if match[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                table += (counts[name],)
            yield table, number
        elif match := _KEY.match(line):
            yield (*table, *match[1].split(".")), number
