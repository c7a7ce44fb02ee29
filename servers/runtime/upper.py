"""A server's own files as overlayfs keeps them: what it wrote, marks of what it deleted, and how to undo either.

Kernel and fuse-overlayfs mark a deletion by a character device 0:0 (Documentation/filesystems/overlayfs.rst), or, where
that cannot be made, by an empty file `.wh.NAME`. A folder that was deleted and made anew hides the one below it: it is
*opaque*, by an extended attribute or a file `.wh..wh..opq` in it (fuse-overlayfs, main.c).
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from servers.runtime.base import EVERYTHING, Undo
from servers.runtime.beneath import NotBeneath, open_beneath
from servers.runtime.measuring import UNDONE

MARK = ".wh."
OPAQUE_FILES = (".wh..wh..opq", ".wh..opq")
# The kernel's overlayfs with `userxattr`, as we mount it, and fuse-overlayfs of a user without privileges.
OPAQUE = ("user.overlay.opaque", "user.fuseoverlayfs.opaque")


@dataclass
class Folder:
    """One folder of `upper`: names below it. `files` are all that is no folder, links and devices too."""

    opaque: bool = False
    folders: list[str] = field(default_factory=list)
    files: dict[str, os.stat_result] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)


def read_folder(root: int, path: str, most: int) -> Folder:
    """The first `most` entries of the folder `path` ("." is the top) below `root`. Raises `NotBeneath`, `OSError`."""
    descriptor = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = Folder(opaque=is_opaque(descriptor))
        with os.scandir(descriptor) as entries:
            for entry in islice(entries, most):
                with contextlib.suppress(FileNotFoundError):  # gone since: the game may be running
                    _sort_in(found, entry.name, entry.stat(follow_symlinks=False))
    finally:
        os.close(descriptor)
    # A game may leave marks itself: of what is there, or twice.
    found.deleted = sorted({*found.deleted} - {*found.files, *found.folders})
    return found


def is_opaque(folder: int | str) -> bool:
    return any(name in OPAQUE for name in os.listxattr(folder))


def is_deletion(facts: os.stat_result) -> bool:
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0


def _sort_in(folder: Folder, name: str, facts: os.stat_result) -> None:
    if name in OPAQUE_FILES:
        folder.opaque = True
    elif is_deletion(facts):
        folder.deleted.append(name)
    elif name.startswith(MARK) and stat.S_ISREG(facts.st_mode) and not facts.st_size:
        if (marked := name.removeprefix(MARK)) not in ("", ".", ".."):
            folder.deleted.append(marked)
    elif stat.S_ISDIR(facts.st_mode):
        folder.folders.append(name)
    else:
        folder.files[name] = facts


def undo(folder: Path, wanted: Iterable[Undo]) -> dict[str, str]:
    """Undo each in `folder`/upper, which must not be mounted; by path, why it was not possible, "" where it was.

    Each is one step that happens or does not, whatever is in it: a folder is moved to `UNDONE`. What is undone already
    is no matter.
    """
    answers: dict[str, str] = {}
    if not folder.is_dir():
        return dict.fromkeys((one.path for one in wanted), "")
    server = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for one in wanted:
            try:
                _undo(server, one)
                answers[one.path] = ""
            except (NotBeneath, OSError) as error:
                answers[one.path] = str(error) if isinstance(error, NotBeneath) else f"{error.strerror}."
    finally:
        os.close(server)
    return answers


def _undo(server: int, wanted: Undo) -> None:
    if wanted.path == EVERYTHING:
        _undo_everything(server)
        return
    above, _, name = wanted.path.rpartition("/")
    if wanted.path.startswith("/") or name in ("", ".", ".."):
        raise NotBeneath(wanted.path)
    try:
        upper = open_beneath(server, "upper", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        parent = open_beneath(upper, above or ".", os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    finally:
        os.close(upper)
    try:
        _take_away(server, parent, name, whole=wanted.whole)
    finally:
        os.close(parent)


def _undo_everything(server: int) -> None:
    """In one step, however much it is. The next start makes the folder again."""
    try:
        upper = open_beneath(server, "upper", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        with contextlib.suppress(PermissionError):  # a folder that its game has closed could not be moved
            os.chmod(f"/proc/self/fd/{upper}", 0o700)
    finally:
        os.close(upper)
    _move_to_undone(server, server, "upper")


def _take_away(server: int, parent: int, name: str, *, whole: bool) -> None:
    _unlink(MARK + name, parent)
    try:
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        _unlink(name, parent)
    elif whole:
        _move_to_undone(server, parent, name)
    else:
        _make_transparent(parent, name)


def _move_to_undone(server: int, parent: int, name: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(UNDONE, 0o700, dir_fd=server)
    os.rename(name, f"{UNDONE}/{secrets.token_hex(8)}", src_dir_fd=parent, dst_dir_fd=server)


def _make_transparent(parent: int, name: str) -> None:
    descriptor = open_beneath(parent, name, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for file in OPAQUE_FILES:
            _unlink(file, descriptor)
        for attribute in set(OPAQUE).intersection(os.listxattr(descriptor)):
            os.removexattr(descriptor, attribute)
    finally:
        os.close(descriptor)


def _unlink(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
