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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from servers.runtime.deleting import delete_tree
from servers.runtime.upper import OPAQUE, is_deletion, is_opaque

FICLONE = 0x40049409  # ioctl_ficlone(2)
MANIFEST = "merged.json"  # what `build` put there: path → how it looked
SETTLED = "merged.settled"  # deletions are noted: what is missing from now on was moved to upper


def build(folder: Path, layers: Sequence[Path]) -> None:
    """Fill `folder`/merged from `layers` (lowest first), config and upper. Raises `OSError`."""
    merged = folder / "merged"
    collect(folder)
    (folder / MANIFEST).write_text("null")  # half a tree, should this be interrupted: nothing in it is new
    for layer in (*layers, folder / "config", folder / "upper"):
        for path, entry in _walk(layer):
            own = layer.name == "upper" and layer.parent == folder
            _place(entry.path, merged / path, own=own)
    (folder / MANIFEST).write_text(json.dumps({path: _look(merged / path) for path, _ in _walk(merged)}))


def is_built(folder: Path) -> bool:
    """Whether there is a tree, whose changes `upper` does not have yet."""
    return (folder / MANIFEST).exists()


def collect(folder: Path) -> None:
    """Move what the game made or changed from `folder`/merged to upper, and empty merged. Nothing without a tree."""
    manifest, merged = folder / MANIFEST, folder / "merged"
    if not is_built(folder):
        return
    placed = json.loads(manifest.read_text())
    if placed is not None and not (folder / SETTLED).exists():
        for path in placed:
            if not os.path.lexists(merged / path) and _is_folder((merged / path).parent):
                _mark_deleted(folder / "upper" / path)
        (folder / SETTLED).touch()
    for path, _ in list(_walk(merged)) if placed is not None else ():
        if placed.get(path) != _look(merged / path):
            _keep(merged / path, folder / "upper" / path)
    delete_tree(merged)
    merged.mkdir(mode=0o755)
    manifest.unlink()
    (folder / SETTLED).unlink(missing_ok=True)


def _walk(top: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `top` with its relative path, folders before what is in them; links are not followed."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(top / folder) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)


def _look(path: Path) -> list[int]:
    """What tells whether an entry is still the one that was placed; of a folder, only that it is one."""
    seen = path.lstat()
    if stat.S_ISDIR(seen.st_mode):
        return [stat.S_IFDIR]
    return [seen.st_ino, seen.st_size, seen.st_mtime_ns]


def _place(source: str, target: Path, *, own: bool) -> None:
    """Put one entry of a layer into the tree, in place of what a lower layer had there."""
    seen = os.lstat(source)
    is_folder = stat.S_ISDIR(seen.st_mode)
    is_transparent = is_folder and not (own and is_opaque(source))
    if os.path.lexists(target) and not (is_transparent and _is_folder(target)):
        _remove(target)
    if is_folder:
        target.mkdir(mode=0o755, exist_ok=True)
    elif stat.S_ISLNK(seen.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(seen.st_mode):
        _place_file(source, target, writable=bool(seen.st_mode & 0o222), own=own)
    # anything else is a mark of deletion in upper: what it covers is gone now


def _place_file(source: str, target: Path, *, writable: bool, own: bool) -> None:
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


def _clone(source: str, target: Path) -> bool:
    """A copy that shares its blocks until written; `False` where the file system has no such thing."""
    with open(source, "rb") as old, open(target, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:
            target.unlink()
            return False
    shutil.copystat(source, target)
    return True


def _keep(path: Path, upper: Path) -> None:
    """Move one entry of the tree to upper, in place of what is there."""
    was_deleted = False
    if os.path.lexists(upper):
        if _is_folder(path) and _is_folder(upper):
            return
        was_deleted = is_deletion(upper.lstat())
        _remove(upper)
    upper.parent.mkdir(parents=True, exist_ok=True)
    if not _is_folder(path):
        path.rename(upper)
        return
    upper.mkdir(mode=0o755)
    if was_deleted:
        with suppress(OSError):  # a file system without such attributes
            os.setxattr(upper, OPAQUE[0], b"y")


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
