"""How much a server's own files take: counted in small steps, by descriptor and through no link, while it may run.

The game is hostile: it makes folders within folders, closes them to us and moves them while we look. What cannot be
seen is not counted, and said.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from servers.runtime.beneath import NotBeneath, open_beneath
from servers.sizes import PER_FILE

BATCH = 500  # entries


class Measure:
    """`folders`: as `Runtime.own_folders` gives them. `enough`: bytes after which it ends."""

    def __init__(self, folders: Sequence[tuple[Path, float]], *, enough: int | None = None) -> None:
        self.size = 0
        self.is_cut = False  # not all was counted
        self._enough = enough
        self._walk = self._count(folders)

    def step(self) -> bool:
        """Count some hundred entries more at most; whether it is done."""
        return next(self._walk, True)

    def _count(self, folders: Sequence[tuple[Path, float]]) -> Iterator[bool]:
        for folder, since in folders:
            try:
                root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            except OSError:  # closed to us
                self.is_cut = True
                continue
            try:
                yield from self._below(root, since)
            finally:
                os.close(root)

    def _below(self, root: int, since: float) -> Iterator[bool]:
        pending = ["."]
        while pending:
            path = pending.pop()
            try:
                descriptor = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            except (OSError, NotBeneath):  # closed to us, too deep, or moved since
                self.is_cut = True
                continue
            try:
                with os.scandir(descriptor) as entries:
                    for number, entry in enumerate(entries, start=1):
                        with suppress(FileNotFoundError):
                            if self._take(entry, since):
                                pending.append(f"{path}/{entry.name}")
                        if number % BATCH == 0:
                            yield False
            finally:
                os.close(descriptor)
            if self._enough is not None and self.size > self._enough:
                return
            yield False

    def _take(self, entry: "os.DirEntry[str]", since: float) -> bool:
        """Count one entry; whether it is a folder."""
        facts = entry.stat(follow_symlinks=False)
        is_folder = stat.S_ISDIR(facts.st_mode)
        if facts.st_ctime > since:
            self.size += max(PER_FILE, facts.st_blocks * 512 // (1 if is_folder else max(1, facts.st_nlink)))
        return is_folder
