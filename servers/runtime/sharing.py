"""Files of the portal that games, which run as a user of their own, read and write by their group (real hosts only)."""

import grp
import os
from pathlib import Path

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
    for folder, names, plain in os.walk(top, topdown=False) if deep else ():
        for path in (os.path.join(folder, name) for name in [*names, *plain]):
            _share_one(path, group)
    _share_one(str(top), group)


def _share_one(path: str, group: int) -> None:
    facts = os.lstat(path)
    if facts.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)
    mode = facts.st_mode & 0o707 | (facts.st_mode & 0o700) >> 3
    if not os.path.islink(path) and facts.st_mode & 0o777 != mode:
        os.chmod(path, mode)
