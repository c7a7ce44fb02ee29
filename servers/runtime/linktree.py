"""The fallback where overlayfs cannot be mounted: the layers merged into one tree of reflinks or hard links.

The rule of the overlay holds here too: a server's own files live in `upper`. `build` lays links to them over the
layers, and `collect` moves what the game made or replaced there. What it cannot do: a file that the game deletes is
back at the next start, and a game that makes a hard-linked file of an installation writable again and writes into it
changes it for all.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from servers.runtime.files import delete_tree

FICLONE = 0x40049409  # ioctl_ficlone(2)
MANIFEST = "merged.json"  # what `build` put there: path → how it looked


def build(folder: Path, layers: Sequence[Path]) -> None:
    """Fill `folder`/merged from `layers` (lowest first), config and upper. Raises `OSError`."""
    merged = folder / "merged"
    collect(folder)
    placed: dict[str, list[int]] = {}
    (folder / MANIFEST).write_text("null")  # half a tree, should this be interrupted: nothing in it is new
    for layer in (*layers, folder / "config", folder / "upper"):
        for path, entry in _walk(layer):
            own = layer.name == "upper" and layer.parent == folder
            _place(entry.path, merged / path, own=own)
            if os.path.lexists(merged / path):
                placed[path] = _look(merged / path)
    (folder / MANIFEST).write_text(json.dumps(placed))


def is_built(folder: Path) -> bool:
    """Whether there is a tree, whose changes `upper` does not have yet."""
    return (folder / MANIFEST).exists()


def collect(folder: Path) -> None:
    """Move what the game made or changed from `folder`/merged to upper, and empty merged. Nothing without a tree."""
    manifest, merged = folder / MANIFEST, folder / "merged"
    if not is_built(folder):
        return
    placed = json.loads(manifest.read_text())
    for path, _ in list(_walk(merged)) if placed is not None else ():
        if placed.get(path) != _look(merged / path):
            _keep(merged / path, folder / "upper" / path)
    delete_tree(merged)
    merged.mkdir(mode=0o755)
    manifest.unlink()


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
    if os.path.lexists(target) and not (is_folder and target.is_dir() and not target.is_symlink()):
        delete_tree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
    if is_folder:
        target.mkdir(mode=0o755, exist_ok=True)
    elif stat.S_ISLNK(seen.st_mode):
        target.symlink_to(os.readlink(source))
    elif stat.S_ISREG(seen.st_mode):
        _place_file(source, target, writable=bool(seen.st_mode & 0o222), own=own)
    # anything else is a deletion mark that overlayfs left in upper: what it covers is gone now


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
    if os.path.lexists(upper):
        if path.is_dir() and not path.is_symlink() and upper.is_dir() and not upper.is_symlink():
            return
        delete_tree(upper) if upper.is_dir() and not upper.is_symlink() else upper.unlink()
    upper.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        upper.mkdir(mode=0o755)
    else:
        path.rename(upper)
