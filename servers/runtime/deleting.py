"""Deletes folders that somebody else has filled: of any depth and width, by a handful of descriptors and no recursion.

A folder within a folder is moved up to the top of what is deleted, and so no path is ever longer than two names.
"""

import errno
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

MOST_PENDING = 1000  # folders whose names are kept; those beyond are found again at the top


def delete_tree(path: Path, *, check: Callable[[], None] = lambda: None) -> None:
    """Delete what is at `path`, if anything is, whatever modes were set inside it; links are not followed.

    `check` is called for each entry; what it raises ends it, and another call goes on. Raises the first `OSError`, once
    all else is deleted.
    """
    try:
        above = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        if _delete(above, path.name):
            return
        top = _open(above, path.name)
        try:
            _Emptying(top, check).run()
        finally:
            os.close(top)
        os.rmdir(path.name, dir_fd=above)
    except FileNotFoundError:  # another has deleted it meanwhile
        return
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(above)


class _Emptying:
    def __init__(self, top: int, check: Callable[[], None]) -> None:
        self._top, self._check = top, check
        self._names = map(f"{secrets.token_hex(8)}-{{}}".format, count())
        self._pending: deque[str] = deque(maxlen=MOST_PENDING)
        self._progress = 0
        self._problem: OSError | None = None

    def run(self) -> None:
        """Until nothing more can be deleted: what failed for want of room may have it the next time."""
        self._progress = 1
        while self._progress:
            self._progress, self._problem = 0, None
            self._each(self._top, self._take_apart)
        if self._problem:
            raise self._problem

    def _each(self, folder: int, not_empty: Callable[[str], None]) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                self._check()
                with self._noting():
                    if _delete(folder, entry.name):
                        self._progress += 1
                    else:
                        not_empty(entry.name)

    def _take_apart(self, name: str) -> None:
        """Empty the folder `name` of the top and, the last first, those that are moved up from it."""
        self._pending.append(name)
        while self._pending:
            with self._noting():
                self._flatten(self._pending.pop())

    def _flatten(self, name: str) -> None:
        folder = _open(self._top, name)
        try:
            self._each(folder, lambda inner: self._move_up(folder, inner))
        finally:
            os.close(folder)
        if _delete(self._top, name):
            self._progress += 1

    def _move_up(self, folder: int, name: str) -> None:
        os.close(_open(folder, name))  # a folder that is closed to us cannot be moved either
        fresh = next(self._names)
        os.rename(name, fresh, src_dir_fd=folder, dst_dir_fd=self._top)
        self._pending.append(fresh)
        self._progress += 1

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:  # another has deleted it meanwhile
            pass
        except OSError as problem:
            self._problem = self._problem or problem


def _delete(folder: int, name: str) -> bool:
    """Delete one entry, unless it is a folder with something in it; whether it is gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    return True


def _open(folder: int, name: str) -> int:
    """A descriptor of that folder, which is opened to us where it is ours."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if os.fstat(found).st_mode & 0o700 != 0o700:
            with suppress(PermissionError):
                os.chmod(f"/proc/self/fd/{found}", 0o700)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
    finally:
        os.close(found)
