"""How much a server's own files take: counted in small steps, by descriptor and through no link, while it may run.

The game is hostile: it makes folders within folders, closes them to us and moves them while we look. What cannot be
seen is not counted, and said; folders so deep or so many that they hide what is in them count as more than anybody may
have.
"""

import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from servers.runtime.beneath import NotBeneath
from servers.runtime.walking import Folder, Walk
from servers.sizes import HIDDEN, PER_FILE

BATCH = 500  # entries
WRITTEN = ("upper", "tmp")  # where a game writes, of a server's folder
UNDONE = "undone"  # beside them: what was reverted, which counts until it is deleted


def own_folders(server: Path) -> list[tuple[Path, float]]:
    """Of the server whose folder that is, as `Measure` takes them."""
    return [(server / name, 0.0) for name in (*WRITTEN, UNDONE)]


class Measure:
    """`folders`: each with the time since which what is in it is the server's own, 0 for all. `enough`: bytes after
    which it ends. `close` it once it is no longer needed.
    """

    def __init__(self, folders: Sequence[tuple[Path, float]], *, enough: int | None = None) -> None:
        self.size = 0
        self.is_cut = False  # not all was counted
        self.is_deep = False  # it has paths that are too long for programs, `cp` for one
        self._enough = enough
        self._walk = self._count(folders)

    def step(self) -> bool:
        """Count some hundred entries more at most; whether it is done."""
        return next(self._walk, True)

    def close(self) -> None:
        """Let go of the folders that are open."""
        self._walk.close()

    def _count(self, folders: Sequence[tuple[Path, float]]) -> Generator[bool]:
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
        walk = Walk()
        for folder in walk.folders(root):
            self.is_deep |= folder.starts > 1
            yield from self._folder(folder, since)
            if folder.is_hidden or walk.is_full:
                self.size += HIDDEN
                self.is_cut = True
                return
            if self._enough is not None and self.size > self._enough:
                return
            yield False

    def _folder(self, folder: Folder, since: float) -> Iterator[bool]:
        try:
            descriptor = folder.open()
        except FileNotFoundError:
            return
        except (OSError, NotBeneath):  # closed to us, or moved since
            self.is_cut = True
            return
        try:
            if not folder.is_hidden:
                yield from self._within(descriptor, since, folder)
        finally:
            os.close(descriptor)

    def _within(self, descriptor: int, since: float, folder: Folder) -> Iterator[bool]:
        with os.scandir(descriptor) as entries:
            for number, entry in enumerate(entries, start=1):
                with suppress(FileNotFoundError):
                    if self._take(entry, since):
                        folder.enter(entry.name)
                if folder.walk.is_full:
                    return
                if number % BATCH == 0:
                    yield False

    def _take(self, entry: "os.DirEntry[str]", since: float) -> bool:
        """Count one entry; whether it is a folder."""
        facts = entry.stat(follow_symlinks=False)
        is_folder = stat.S_ISDIR(facts.st_mode)
        if facts.st_ctime > since:
            self.size += max(PER_FILE, facts.st_blocks * 512 // (1 if is_folder else max(1, facts.st_nlink)))
        return is_folder
