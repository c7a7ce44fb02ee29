"""Wake-ups of the systemd runtime: a named pipe for each server, which its launcher writes to after every output.

journald would tell of new lines as well, but gathers what it tells for a quarter of a second, though each line can be
read at once; it is the second way here, for games whose launcher knows no pipe. The game may write to its pipe too:
what is in it means nothing, and how often it is worth a read is the agent's to decide.
"""

import contextlib
import os
import select
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from servers.runtime.deleting import delete_tree
from servers.runtime.journal import Journal, JournalError
from servers.runtime.wakes import Wakes, Woken

PIPE_NAME = "wake"
PIPE_MODE = 0o620  # games, by their group, may write and not read
DRAIN_BYTES = 64 << 10  # what a pipe holds


def make_pipe(folder: Path) -> None:
    """Make the pipe of a server that does not run, in place of whatever is there; raises `OSError`.

    It belongs to the folder's group, as all there.
    """
    path = folder / PIPE_NAME
    if path.is_dir() and not path.is_symlink():
        delete_tree(path)
    path.unlink(missing_ok=True)
    os.mkfifo(path, PIPE_MODE)
    path.chmod(PIPE_MODE)


class PipeWakes(Wakes):
    """Listens to ROOT/NAME/wake and to the games' journal."""

    # From the launcher's write to the journal's entry. What takes longer is journald's own wake-up to tell.
    late = 0.3

    def __init__(self, root: Path, journal: Callable[[], Journal]) -> None:
        super().__init__()
        self._root = root
        self._get_journal = journal
        self._journal: Journal | None = None
        self._pipes: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._followed: set[str] = set()

    def follow(self, names: Iterable[str], live: Iterable[str]) -> set[str]:
        self._followed, opened = set(live), set()
        for name in self._pipes.keys() - self._followed:
            self._forget(name)
        for name in self._followed:
            if not self._is_current(name):
                self._forget(name)
                self._open(name)
                opened.add(name)
        with contextlib.suppress(JournalError):  # whoever reads a console says so
            if self._followed and not self._journal:
                self._journal = self._get_journal()
                self._epoll.register(self._journal.descriptor, select.EPOLLIN)
        return opened & self._pipes.keys()

    def wait(self, seconds: float) -> Woken:
        woken = super().wait(seconds)
        with contextlib.suppress(JournalError):
            if self._journal and self._journal.has_changed():
                woken.readable |= self._followed
        return woken

    def close(self) -> None:
        for name in list(self._pipes):
            self._forget(name)
        super().close()

    def _is_current(self, name: str) -> bool:
        """Whether the open pipe is the one at the path: another may have been made there since."""
        try:
            ours, there = os.fstat(self._pipes[name]), os.lstat(self._root / name / PIPE_NAME)
        except (KeyError, OSError):
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def _open(self, name: str) -> None:
        # For writing too: a pipe whose last writer is gone would be ready for ever.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            pipe = os.open(self._root / name / PIPE_NAME, flags)
        except OSError:
            return  # none, as for a game started by an older release
        if stat.S_ISFIFO(os.fstat(pipe).st_mode):
            self._pipes[name], self._names[pipe] = pipe, name
            self._epoll.register(pipe, select.EPOLLIN)
        else:
            os.close(pipe)

    def _forget(self, name: str) -> None:
        if (pipe := self._pipes.pop(name, None)) is not None:
            del self._names[pipe]
            os.close(pipe)  # which takes it out of the epoll

    def _ready(self, number: int, woken: Woken) -> None:
        if (name := self._names.get(number)) is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(number, DRAIN_BYTES)
            woken.consoles.add(name)
