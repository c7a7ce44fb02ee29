"""Writes what an archive or a member names below one folder: plain files alone, every name judged, all of it bounded.

Needs no settings: the program that unpacks archives (`servers.layers.unpack`) runs it by itself.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from servers.runtime.beneath import make_folders_beneath, open_beneath
from servers.sizes import PER_FILE, in_words

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
NAMES = (".zip", ".7z", ".vpk", *TARS)  # what may be uploaded
CHUNK = 1 << 20
PART_BYTES, PATH_BYTES, DEPTH = 200, 1000, 32


class Refused(Exception):
    """The text is a sentence that names the entry and says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """`size`: bytes of all files. `ratio`: times the archive's own size, once there is more than `free` bytes."""

    size: int = 16 << 30
    count: int = 100_000
    ratio: int = 200
    free: int = 64 << 20


class Writer:
    """`packed`: bytes of the archive it comes from, 0 when there is none. `room`: bytes that its owner has left."""

    def __init__(self, root: str, *, packed: int = 0, room: int | None = None, bounds: Bounds = Bounds()) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._seen: dict[str, tuple[str, bool]] = {}  # folded path → as it was first written, and whether a folder
        self._size = 0
        limit = max(bounds.free, packed * bounds.ratio) if packed else bounds.size
        self._limit, self._bounds, self._room = min(bounds.size, limit), bounds, room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def folder(self, name: str) -> None:
        """An entry that is a folder: made, so that the tree is as it was packed."""
        if path := checked(name, folder=True):
            self._claim(path, folder=True)
            os.close(make_folders_beneath(self._root, path))

    def file(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one regular file. Raises `Refused`."""
        with self.open(name) as file:
            for chunk in chunks:
                file.write(chunk)

    def open(self, name: str) -> "NewFile":
        """Begin one regular file. Raises `Refused`."""
        path = checked(name)
        self._claim(path, folder=False)
        parent = make_folders_beneath(self._root, os.path.dirname(path))
        try:
            return NewFile(
                self, path, open_beneath(parent, os.path.basename(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            )
        finally:
            os.close(parent)

    def count(self, name: str, size: int) -> None:
        """`size` more bytes are about to be written. Raises `Refused` beyond the bound."""
        self._size += size
        if self._size > self._limit:
            raise Refused(f"“{shown(name)}”: unpacked it would be more than {self._limit >> 20} MB. Pack less.")
        self._require_room(name)

    def _require_room(self, name: str) -> None:
        """Every entry counts as `servers.disk` counts it."""
        if self._room is not None and self._size + len(self._seen) * PER_FILE > self._room:
            raise Refused(f"“{shown(name)}”: it would be more than {too_little(self._room)}")

    def _claim(self, path: str, *, folder: bool) -> None:
        """Refuse what is there already, also in other letters, and a folder where a file is."""
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            part, is_folder = "/".join(parts[:depth]), folder or depth < len(parts)
            before, was_folder = self._seen.setdefault(part.casefold(), (part, is_folder))
            is_new = before is part
            if not is_new and not (is_folder and was_folder and before == part):
                raise Refused(f"“{shown(path)}” is there twice, as “{shown(before)}” before. Keep one of them.")
        if len(self._seen) > self._bounds.count:
            raise Refused(f"“{shown(path)}”: there are more than {self._bounds.count} files and folders. Pack less.")
        self._require_room(path)


class NewFile:
    """A file being written, every byte counted."""

    def __init__(self, writer: Writer, name: str, descriptor: int) -> None:
        self._writer, self._name = writer, name
        self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, chunk: bytes | bytearray) -> None:
        self._writer.count(self._name, len(chunk))
        self._file.write(chunk)

    def close(self) -> None:
        self._file.close()


def checked(name: str, *, folder: bool = False) -> str:
    """`name` as a plain relative path; "" for the folder everything is in. Raises `Refused`."""
    if len(name) > 2 * PATH_BYTES:
        raise Refused(f"“{shown(name)}” has a name that is too long.")
    path = name[:-1] if folder and name.endswith("/") else name
    while path.startswith("./"):
        path = path[2:]
    if folder and path in ("", "."):
        return ""
    if problem := _problem(path):
        raise Refused(f"“{shown(name)}” {problem}")
    return path


def _problem(path: str) -> str:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "has a name that is not UTF-8. Rename it and pack again."
    parts = path.split("/")
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        return "has an absolute name. Names have to be relative."
    if ".." in parts:
        return "leads out of its folder by “..”."
    if not path or not all(parts) or "." in parts:
        return "is not a name of a file."
    if not path.isprintable() or "\\" in path:
        return "has a name with a backslash or an invisible character. Rename it."
    if size > PATH_BYTES or len(parts) > DEPTH or max(len(part.encode()) for part in parts) > PART_BYTES:
        return "has a name that is too long."
    if any(part.startswith(".wh.") for part in parts):
        return "has a name that means a deleted file to the mount. Rename it."
    return ""


def too_little(room: int) -> str:
    """The end of a sentence about what does not fit."""
    return f"the {in_words(room)} of disk that are left to the layer's owner. Delete what is not needed first."


def shown(name: str) -> str:
    """A hostile name in a sentence."""
    begin = name[:121]
    text = begin if begin.isprintable() else ascii(begin)[1:-1]
    return text if len(text) <= 120 else f"{text[:120]}…"
