"""Seals what was written: each file hashed, the whole named by its content; nothing changes it then."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servers.layers.writer import CHUNK

# Bytes. Games write into small files where they stand (a list of bans, a plugin's database): those keep the write bit,
# so that the server gets a copy of its own then (runtime/sharing.py). Large ones are shared by hard links where
# overlayfs is forbidden.
OPEN = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a build, or inside its add-on package `addon`. `path` is relative to the game's files."""

    path: str
    size: int
    addon: str = ""


@dataclass(kw_only=True)
class Content:
    """What a build consists of."""

    digest: str
    size: int
    files: list[File]
    inside: list[File] = field(default_factory=list)
    campaigns: list[dict[str, Any]] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)

    def all_files(self) -> Iterator[File]:
        yield from self.files
        yield from self.inside


def seal(root: Path, *, check: Callable[[], None]) -> Content:
    """Settle the modes of everything below `root` and name it. `check` is called between files: it may raise."""
    total, files, name = 0, [], hashlib.sha256()
    for path in sorted(_files(root)):
        check()
        size, digest = _hash(root / path)
        (root / path).chmod(0o644 if size <= OPEN else 0o444)
        name.update(f"{digest} {size} {path}\n".encode())
        files.append(File(path, size))
        total += size
    return Content(digest=name.hexdigest(), size=total, files=files)


def _files(root: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(root):
        os.chmod(parent, 0o755)  # noqa: S103 (the game's user reads it)
        folders.sort()
        yield from (os.path.relpath(os.path.join(parent, name), root) for name in names)


def _hash(path: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()
