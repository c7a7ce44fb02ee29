"""Files of the portal that games, which run as a user of their own, read and write by their group (real hosts only)."""

import errno
import grp
import os
from pathlib import Path

from servers.runtime.walking import Walk

GAME_GROUP = "left4me-game"


def share(top: Path, *, deep: bool = True) -> None:
    """Give the games' group what the owner may do with `top`, with all below it unless `deep` is off.

    Done once: `top` itself comes last and says so. Games run as a user of their own and write, by way of the mount,
    into folders that came with the game.
    """
    group = grp.getgrnam(GAME_GROUP).gr_gid
    facts = top.stat()
    if facts.st_gid == group and facts.st_mode & 0o070 == (facts.st_mode & 0o700) >> 3:
        return
    if deep:
        _share_below(top, group)
    _share_one(top, group)


def _share_below(top: Path, group: int) -> None:
    descriptor = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        walk = Walk()
        for folder in walk.folders(descriptor):
            if folder.is_hidden or walk.is_full:
                raise OSError(errno.ENAMETOOLONG, "Folders are too deep, or too many", str(top))
            with os.scandir(folder.at(".")) as entries:
                for entry in entries:
                    _share_one(folder.at(entry.name), group)
                    if entry.is_dir(follow_symlinks=False):
                        folder.enter(entry.name)
    finally:
        os.close(descriptor)


def _share_one(path: Path, group: int) -> None:
    facts = os.lstat(path)
    if facts.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)
    mode = facts.st_mode & 0o707 | (facts.st_mode & 0o700) >> 3
    if not os.path.islink(path) and facts.st_mode & 0o777 != mode:
        os.chmod(path, mode)
