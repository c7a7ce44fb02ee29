"""Walks folders that somebody else has filled, however deep they are, through no link and by a handful of descriptors.

The kernel takes paths of 4,096 bytes. A folder whose path gets near that is opened, and paths begin again there.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers.runtime.beneath import NotBeneath, open_beneath

FAR = 3000  # bytes of a path, beyond which a folder is the start of new ones
MOST_STARTS = 64  # open at once
MOST_HELD = 64 << 20  # bytes of memory for paths of folders that are still to come


@dataclass
class Folder:
    """A folder of the first tree of a walk. `tag`: what `enter` was told. `is_hidden`: too deep to be walked."""

    walk: "Walk"
    tops: tuple[int, ...]
    path: str
    tag: Any
    starts: int
    pending: list[tuple[str, Any]]

    @property
    def is_hidden(self) -> bool:
        return self.starts >= MOST_STARTS and _is_far(self.path)

    def open(self) -> int:
        """Raises `NotBeneath`, `OSError`."""
        return open_beneath(self.tops[0], self.path, os.O_RDONLY | os.O_DIRECTORY)

    def at(self, name: str, tree: int = 0) -> Path:
        """A path, which is short, of what is so called in it, or in the same place of another tree."""
        return Path(f"/proc/self/fd/{self.tops[tree]}", self.path, name)

    def enter(self, name: str, tag: Any = None) -> None:
        """Walk the folder of this name too."""
        self.pending.append((f"{self.path}/{name}", tag))
        self.walk.held += sys.getsizeof(self.pending[-1][0])


class Walk:
    """One walk, through one tree or several that are alike. `held`: bytes of memory."""

    def __init__(self) -> None:
        self.held = 0

    @property
    def is_full(self) -> bool:
        return self.held > MOST_HELD

    def folders(self, *tops: int, tag: Any = None, starts: int = 1) -> Iterator[Folder]:
        """The folder behind the first descriptor, then those that each `Folder` was told to enter, the last first.

        The other trees must have the same folders where the first is deep.
        """
        pending: list[tuple[str, Any]] = [(".", tag)]
        self.held += sys.getsizeof(".")
        while pending:
            path, tag = pending.pop()
            self.held -= sys.getsizeof(path)
            here = Folder(self, tops, path, tag, starts, pending)
            if _is_far(path) and starts < MOST_STARTS:
                yield from self._start_at(here)
            else:
                yield here

    def _start_at(self, folder: Folder) -> Iterator[Folder]:
        with ExitStack() as opened:
            starts = []
            try:
                for top in folder.tops:
                    starts.append(open_beneath(top, folder.path, os.O_RDONLY | os.O_DIRECTORY))
                    opened.callback(os.close, starts[-1])
            except (OSError, NotBeneath):
                yield folder  # whoever opens it is told why
                return
            yield from self.folders(*starts, tag=folder.tag, starts=folder.starts + 1)


def _is_far(path: str) -> bool:
    return len(os.fsencode(path)) > FAR
