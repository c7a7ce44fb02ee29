"""How much a server's own files take: counted in small steps, by descriptor and through no link, while it may run.

The game is hostile: it makes folders within folders, closes them to us and moves them while we look. What cannot be
seen is not counted, and said; folders so deep or so many that they hide what is in them count as more than anybody may
have.
"""

import os
import stat
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from servers.runtime.beneath import NotBeneath, open_beneath
from servers.sizes import PER_FILE

BATCH = 500  # entries
FAR = 3000  # bytes of a path, beyond which a folder is the start of new ones: the kernel takes 4096
MOST_STARTS = 64  # open at once
MOST_HELD = 64 << 20  # bytes of memory for paths of folders that are still to be counted
HIDDEN = 1 << 40  # bytes that what is deeper, or in more folders, counts as
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
        self._held = 0
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

    def _below(self, root: int, since: float, starts: int = 1) -> Iterator[bool]:
        pending = ["."]
        self._held += sys.getsizeof(".")
        while pending:
            path = pending.pop()
            self._held -= sys.getsizeof(path)
            try:
                descriptor = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
            except (OSError, NotBeneath) as error:  # gone, or closed to us, too deep, or moved since
                self.is_cut |= not isinstance(error, FileNotFoundError)
                yield False
                continue
            try:
                if len(os.fsencode(path)) <= FAR:
                    yield from self._within(descriptor, since, path, pending)
                elif starts < MOST_STARTS:
                    self.is_deep = True
                    yield from self._below(descriptor, since, starts + 1)
                else:
                    self._hide()
            finally:
                os.close(descriptor)
            if self._enough is not None and self.size > self._enough:
                return
            yield False

    def _within(self, folder: int, since: float, path: str, pending: list[str]) -> Iterator[bool]:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries, start=1):
                with suppress(FileNotFoundError):
                    if self._take(entry, since):
                        pending.append(f"{path}/{entry.name}")
                        self._held += sys.getsizeof(pending[-1])
                if self._held > MOST_HELD:
                    return self._hide()
                if number % BATCH == 0:
                    yield False

    def _hide(self) -> None:
        self.size += HIDDEN
        self.is_cut = True
        self._enough = 0

    def _take(self, entry: "os.DirEntry[str]", since: float) -> bool:
        """Count one entry; whether it is a folder."""
        facts = entry.stat(follow_symlinks=False)
        is_folder = stat.S_ISDIR(facts.st_mode)
        if facts.st_ctime > since:
            self.size += max(PER_FILE, facts.st_blocks * 512 // (1 if is_folder else max(1, facts.st_nlink)))
        return is_folder
