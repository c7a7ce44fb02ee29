"""The directory of a VPK file, Source's package: which files it holds and where; and the campaigns it brings.

Format: versions 1 and 2 as on https://developer.valvesoftware.com/wiki/VPK_(file_format). The files are members' own,
so every number and name is checked before it is used, and what is read is bounded.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers import keyvalues

SIGNATURE = 0x55AA1234
HEADERS = {1: struct.Struct("<III"), 2: struct.Struct("<IIIIIII")}
ENTRY = struct.Struct("<IHHIIH")  # CRC, preload bytes, archive, offset, length, terminator
HERE, TERMINATOR = 0x7FFF, 0xFFFF  # archive index for “in this very file”; end of an entry
TREE_BYTES, MOST_FILES, NAME_BYTES = 64 << 20, 200_000, 400
MISSION_BYTES, MOST_MISSIONS, MOST_MAPS = 256 << 10, 50, 200


class VpkError(ValueError):
    """The file is no usable VPK; the text is a sentence that says why and names the entry where there is one."""


@dataclass(frozen=True)
class Entry:
    """A file in the package. `offset`: of its data in this file, or None when that is in a sibling package."""

    path: str
    size: int
    preload: bytes = b""
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A mission file: its title and, for each mode, the maps in order."""

    name: str
    title: str
    modes: dict[str, list[str]] = field(default_factory=dict)


def read_directory(path: Path) -> list[Entry]:
    """Every file in the package. Raises `VpkError`, `OSError`."""
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        tree_size, header_size = _header(file.read(HEADERS[2].size))
        if tree_size > min(TREE_BYTES, total - header_size):
            raise VpkError(f"its directory of {tree_size} bytes does not fit into it.")
        file.seek(header_size)
        data_at = header_size + tree_size
        return list(_entries(file.read(tree_size), data_at, total))


def _header(data: bytes) -> tuple[int, int]:
    if len(data) < HEADERS[1].size:
        raise VpkError("it is too short to be a VPK file.")
    signature, version, tree_size = HEADERS[1].unpack_from(data)
    if signature != SIGNATURE:
        raise VpkError("it does not begin as a VPK file does.")
    if version not in HEADERS:
        raise VpkError(f"it is a VPK of version {version}; 1 and 2 are known.")
    if len(data) < HEADERS[version].size:
        raise VpkError("it is too short to be a VPK file.")
    return tree_size, HEADERS[version].size


def _entries(tree: bytes, data_at: int, total: int) -> Iterator[Entry]:
    """The tree is extensions, in each folders, in each names; an empty string ends each level."""
    position, count = 0, 0
    while True:
        extension, position = _text(tree, position)
        if not extension:
            return
        while True:
            folder, position = _text(tree, position)
            if not folder:
                break
            while True:
                name, position = _text(tree, position)
                if not name:
                    break
                count += 1
                if count > MOST_FILES:
                    raise VpkError(f"it holds more than {MOST_FILES} files.")
                entry, position = _entry(tree, position, _join(folder, name, extension), data_at, total)
                yield entry


def _text(tree: bytes, position: int) -> tuple[str, int]:
    end = tree.find(b"\0", position, position + NAME_BYTES)
    if end < 0:
        raise VpkError(f"its directory breaks off, or has a name that is too long, at byte {position}.")
    return tree[position:end].decode("utf-8", "replace"), end + 1


def _join(folder: str, name: str, extension: str) -> str:
    """A single blank stands for nothing."""
    path = name if extension == " " else f"{name}.{extension}"
    path = path if folder == " " else f"{folder}/{path}"
    parts = path.split("/")
    if ".." in parts or not all(parts) or "\\" in path or not path.isprintable():
        raise VpkError(f"it holds a file called {ascii(path)[:120]}, which is no name in the game's folder.")
    return path.lower()  # as the game looks for it


def _entry(tree: bytes, position: int, path: str, data_at: int, total: int) -> tuple[Entry, int]:
    if position + ENTRY.size > len(tree):
        raise VpkError(f"its directory breaks off at “{path}”.")
    _, preload, archive, offset, length, terminator = ENTRY.unpack_from(tree, position)
    start = position + ENTRY.size
    if terminator != TERMINATOR or start + preload > len(tree):
        raise VpkError(f"its directory is damaged at “{path}”.")
    here = archive == HERE
    if here and data_at + offset + length > total:
        raise VpkError(f"“{path}” lies beyond its end.")
    entry = Entry(path, preload + length, tree[start : start + preload], data_at + offset if here else None)
    return entry, start + preload


def read_entry(path: Path, entry: Entry, limit: int) -> bytes:
    """Up to `limit` bytes of a file in the package; nothing when its data is in a sibling. Raises `OSError`."""
    if entry.offset is None:
        return entry.preload[:limit]
    with path.open("rb") as file:
        file.seek(entry.offset)
        rest = min(entry.size - len(entry.preload), max(limit - len(entry.preload), 0))
        return entry.preload[:limit] + file.read(rest)


def maps_of(entries: list[Entry]) -> list[str]:
    """Names of the maps in the package, as `changelevel` takes them."""
    found = (Path(e.path).stem for e in entries if e.path.startswith("maps/") and e.path.endswith(".bsp"))
    return sorted(set(found))[:MOST_MAPS]


def campaigns_of(path: Path, entries: list[Entry]) -> list[Campaign]:
    """What its mission files say, as far as it can be read. Raises `OSError`."""
    missions = [e for e in entries if e.path.startswith("missions/") and e.path.endswith(".txt")]
    return [_campaign(entry, read_entry(path, entry, MISSION_BYTES)) for entry in missions[:MOST_MISSIONS]]


def _campaign(entry: Entry, data: bytes) -> Campaign:
    mission = keyvalues.table(keyvalues.parse(keyvalues.decode(data)), "mission")
    name = keyvalues.text(mission, "name") or Path(entry.path).stem
    modes: dict[str, list[str]] = {}
    for mode, chapters in keyvalues.tables(keyvalues.table(mission, "modes")):
        maps = [keyvalues.text(chapter, "map") for _, chapter in keyvalues.tables(chapters)]
        if known := [one for one in maps if one][:MOST_MAPS]:
            modes[mode.lower()] = known
    return Campaign(name=name, title=keyvalues.text(mission, "displaytitle") or name, modes=modes)


def as_json(campaign: Campaign, addon: str) -> dict[str, Any]:
    """For a build's row."""
    return {"addon": addon, "name": campaign.name, "title": campaign.title, "modes": campaign.modes}
