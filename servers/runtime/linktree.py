"""The fallback where overlayfs cannot be mounted: the layers merged into one tree of reflinks or hard links.

The rule of the overlay holds here too: a server's own files live in `upper`, with its marks of deletion. `build` lays
links to them over the layers, and `collect` moves what the game made or replaced there. What it cannot do: a game that
makes a hard-linked file of an installation writable again and writes into it changes it for all.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from servers.runtime.beneath import NotBeneath
from servers.runtime.deleting import delete_tree
from servers.runtime.upper import OPAQUE, is_deletion, is_opaque
from servers.runtime.walking import Folder, Walk

FICLONE = 0x40049409  # ioctl_ficlone(2)
MANIFEST = "merged.json"  # what `build` put there, as `_listed`
NOT_PLACED = -1  # in place of a row's number
SETTLED = "merged.settled"  # deletions are noted: what is missing from now on was moved to upper

_Placed = dict[int, dict[str, tuple[int, list[int]]]]  # by the folder's number and the name


def build(folder: Path, layers: Sequence[Path]) -> None:
    """Fill `folder`/merged from `layers` (lowest first), config and upper. Raises `OSError`."""
    merged = folder / "merged"
    collect(folder)
    (folder / MANIFEST).write_text("null")  # half a tree, should this be interrupted: nothing in it is new
    for layer in (*layers, folder / "config", folder / "upper"):
        own = layer.name == "upper" and layer.parent == folder
        for here, entries in _folders(layer, merged):
            for entry in entries:
                _place(here.at(entry.name), here.at(entry.name, tree=1), own=own)
                if entry.is_dir(follow_symlinks=False):
                    here.enter(entry.name)
    (folder / MANIFEST).write_text(json.dumps(_listed(merged)))


def _listed(merged: Path) -> list[list[Any]]:
    """What is there: in each row the number of the folder's row, counted from 1, the name and the look."""
    rows: list[list[Any]] = []
    for here, entries in _folders(merged, tag=0):
        for entry in entries:
            rows.append([here.tag, entry.name, _look(here.at(entry.name))])
            if entry.is_dir(follow_symlinks=False):
                here.enter(entry.name, len(rows))
    return rows


def is_built(folder: Path) -> bool:
    """Whether there is a tree, whose changes `upper` does not have yet."""
    return (folder / MANIFEST).exists()


def collect(folder: Path) -> None:
    """Move what the game made or changed from `folder`/merged to upper, and empty merged. Nothing without a tree."""
    manifest, merged = folder / MANIFEST, folder / "merged"
    if not is_built(folder):
        return
    if (rows := json.loads(manifest.read_text())) is not None:
        placed: _Placed = defaultdict(dict)
        for number, (within, name, look) in enumerate(rows, start=1):
            placed[within][name] = (number, look)
        if not (folder / SETTLED).exists():
            _note_deleted(folder, placed)
            (folder / SETTLED).touch()
        _keep_changed(folder, placed)
    delete_tree(merged)
    merged.mkdir(mode=0o755)
    manifest.unlink()
    (folder / SETTLED).unlink(missing_ok=True)


def _note_deleted(folder: Path, placed: _Placed) -> None:
    for here, entries in _folders(folder / "merged", folder / "upper", tag=0):
        found, before = {entry.name: entry for entry in entries}, placed.get(here.tag, {})
        for name in before.keys() - found.keys():
            _mark_deleted(here.at(name, tree=1))
        for name in before.keys() & found.keys():
            if found[name].is_dir(follow_symlinks=False):
                here.enter(name, before[name][0])


def _keep_changed(folder: Path, placed: _Placed) -> None:
    for here, entries in _folders(folder / "merged", folder / "upper", tag=0):
        before = placed.get(here.tag, {})
        for entry in entries:
            number, look = before.get(entry.name, (NOT_PLACED, None))
            path = here.at(entry.name)
            is_left = look == _look(path) or _keep(path, here.at(entry.name, tree=1))
            if is_left and entry.is_dir(follow_symlinks=False):
                here.enter(entry.name, number)


def _folders(*trees: Path, tag: int | None = None) -> Iterator[tuple[Folder, list[os.DirEntry[str]]]]:
    """Folders of the first tree by `Walk`, each with what is in it. Raises `OSError`, also where one is too deep."""
    with ExitStack() as opened:
        tops = [os.open(tree, os.O_RDONLY | os.O_DIRECTORY) for tree in trees]
        for top in tops:
            opened.callback(os.close, top)
        walk = Walk()
        for here in walk.folders(*tops, tag=tag):
            if here.is_hidden or walk.is_full:
                raise OSError(errno.ENAMETOOLONG, "Folders are too deep, or too many")
            try:
                descriptor = here.open()
            except NotBeneath as error:  # something of the game is still at work
                raise OSError(errno.ELOOP, str(error)) from error
            try:
                with os.scandir(descriptor) as entries:
                    yield here, list(entries)
            finally:
                os.close(descriptor)


def _look(path: Path) -> list[int]:
    """What tells whether an entry is still the one that was placed; of a folder, only that it is one."""
    seen = path.lstat()
    if stat.S_ISDIR(seen.st_mode):
        return [stat.S_IFDIR]
    return [seen.st_ino, seen.st_size, seen.st_mtime_ns]


def _place(source: Path, target: Path, *, own: bool) -> None:
    """Put one entry of a layer into the tree, in place of what a lower layer had there."""
    seen = os.lstat(source)
    is_folder = stat.S_ISDIR(seen.st_mode)
    is_transparent = is_folder and not (own and is_opaque(str(source)))
    if os.path.lexists(target) and not (is_transparent and _is_folder(target)):
        _remove(target)
    if is_folder:
        target.mkdir(mode=0o755, exist_ok=True)
    elif stat.S_ISLNK(seen.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(seen.st_mode):
        _place_file(source, target, writable=bool(seen.st_mode & 0o222), own=own)
    # anything else is a mark of deletion in upper: what it covers is gone now


def _place_file(source: Path, target: Path, *, writable: bool, own: bool) -> None:
    """A server's own files and read-only ones are linked where they cannot be cloned; others are copied."""
    if own:
        os.link(source, target)
        return
    if _clone(source, target):
        return
    if not writable:
        try:
            os.link(source, target)
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                raise
    shutil.copy2(source, target)


def _clone(source: Path, target: Path) -> bool:
    """A copy that shares its blocks until written; `False` where the file system has no such thing."""
    with open(source, "rb") as old, open(target, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:
            target.unlink()
            return False
    shutil.copystat(source, target)
    return True


def _keep(path: Path, upper: Path) -> bool:
    """Move one entry of the tree to upper, a folder with all in it, in place of what is there.

    Not where both are folders: whether that is so.
    """
    if os.path.lexists(upper):
        if _is_folder(path) and _is_folder(upper):
            return True
        if _is_folder(path) and is_deletion(upper.lstat()):
            with suppress(OSError):  # a file system without such attributes
                os.setxattr(path, OPAQUE[0], b"y")
        _remove(upper)
    upper.parent.mkdir(parents=True, exist_ok=True)
    path.rename(upper)
    return False


def _mark_deleted(upper: Path) -> None:
    """As overlayfs does it. Where this may not be made, the file is back at the next start."""
    if os.path.lexists(upper):
        _remove(upper)
    upper.parent.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):
        os.mknod(upper, stat.S_IFCHR)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    delete_tree(path) if _is_folder(path) else path.unlink()
