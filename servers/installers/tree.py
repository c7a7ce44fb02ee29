"""Makes an unpacked tree safe as a game's lowest layer: nothing in it leads out, is privileged or can be written.

Versions share what is the same in both by hard links. A version is never written again, so nothing is written through.
"""

import filecmp
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from jobs.registry import JobError


class InstallError(JobError):
    """An installation failed and left nothing; the text is a sentence a member understands."""


def tidy(root: Path, log: Callable[[str], None]) -> None:
    """Resolve links inside `root`, drop those that lead nowhere or out of it, and make files read-only.

    Read-only, because where overlayfs is forbidden servers share the very files by hard links. `log` is told of each
    thing dropped.
    """
    root = root.resolve()
    root.chmod(0o755)  # by which runtime/sharing.py knows that nothing of it is shared with the games' group yet
    for path in _walk(root):
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            _turn_inside(root, path)
        elif stat.S_ISDIR(kind):
            path.chmod(0o755)
        elif stat.S_ISREG(kind):
            path.chmod(0o555 if kind & 0o111 else 0o444)
        else:
            log(f"Left out {path.relative_to(root)}: it is neither a file, a folder nor a link.")
            path.unlink()
    while dropped := [path for path in _walk(root) if path.is_symlink() and not _leads_inside(root, path)]:
        for path in dropped:
            log(f"Left out the link {path.relative_to(root)}: it leads to {os.readlink(path)}, which is not there.")
            path.unlink()


def _walk(root: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(root):
        yield from (Path(parent, name) for name in folders + files)


def _turn_inside(root: Path, link: Path) -> None:
    """An absolute link means a path of the package's own system, whose root is `root`."""
    target = os.readlink(link)
    if os.path.isabs(target):
        inside = root / target.lstrip("/")
        link.unlink()
        link.symlink_to(os.path.relpath(inside, link.parent))


def _leads_inside(root: Path, link: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
        return False


def share_unchanged(root: Path, former: Path, check: Callable[[], None]) -> int:
    """Replace each file below `root` by a link to the same file of `former` where content and mode are the same.

    Both have been tidied. `check` is called before each file. Returns the bytes that are in shared files now.
    """
    shared = 0
    for path in _walk(root):
        check()
        other = former / path.relative_to(root)
        if not _is_same_file(path, other):
            continue
        spare = path.with_name(f"{path.name}.left4me-link")
        spare.unlink(missing_ok=True)
        os.link(other, spare)
        spare.rename(path)
        shared += other.stat().st_size
    return shared


def _is_same_file(one: Path, other: Path) -> bool:
    """Two plain files of the same content and mode, neither of which anybody may write."""
    try:
        facts, others = one.lstat(), other.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    plain = stat.S_ISREG(facts.st_mode) and not facts.st_mode & 0o222
    same = (facts.st_mode, facts.st_size) == (others.st_mode, others.st_size)
    return plain and same and filecmp.cmp(one, other, shallow=False)
