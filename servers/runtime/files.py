"""A server's folders below STATE_DIR/runtime: made, given fresh config, put aside and deleted. Both runtimes use it."""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from servers.runtime.base import RuntimeFailure
from servers.runtime.beneath import NotBeneath, write_beneath

FOLDERS = ("upper", "work", "merged", "console")
TRASH = ".trash"
DISCARDED = "discarded"  # the token of what is deleted at once
START_NEEDS_BYTES = 64 << 20  # room for what a game and its console write at first


def require_room(folder: Path) -> None:
    """Raise `RuntimeFailure` unless the disk that holds `folder` has room to start a server."""
    free = shutil.disk_usage(folder).free
    if free < START_NEEDS_BYTES:
        raise RuntimeFailure(
            f"The disk is full: {free >> 20} MB are left and {START_NEEDS_BYTES >> 20} MB are needed. "
            "Delete a server that is not needed, or ask an admin for room."
        )


def make_folders(folder: Path) -> None:
    """Make a server's folders where absent."""
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)


def write_config(folder: Path, files: Mapping[str, bytes]) -> None:
    """Build `folder`/config afresh from relative path → content; a failure leaves the former one in place.

    Never call it while that folder is mounted. Raises `RuntimeFailure`.
    """
    new, old = folder / "config.new", folder / "config.old"
    for leftover in (new, old):
        delete_tree(leftover)
    try:
        new.mkdir(mode=0o755)
        root = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for path, content in files.items():
                write_beneath(root, path, content)
        finally:
            os.close(root)
    except (NotBeneath, OSError) as error:
        delete_tree(new)
        reason = str(error) if isinstance(error, NotBeneath) else f"{error.strerror}: {error.filename}"
        raise RuntimeFailure(f"The config files could not be written: {reason}") from error
    if (folder / "config").exists():
        (folder / "config").rename(old)
    new.rename(folder / "config")
    delete_tree(old)


def delete_tree(path: Path) -> None:
    """Delete a folder, if it is there, whatever modes were set inside it; links are not followed."""

    def insist(function: Callable[..., Any], failed: str, info: Any) -> None:
        for folder in (os.path.dirname(failed), failed):
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                os.chmod(folder, 0o700)
        if function in (os.open, os.scandir, os.listdir):
            delete_tree(Path(failed))
        else:
            function(failed)

    if path.exists():
        shutil.rmtree(path, onerror=insist)


def put_aside(runtime: Path, name: str, token: str) -> None:
    """Move runtime/NAME to the trash, if it is there."""
    target = _trash(runtime, name, token)
    target.parent.mkdir(exist_ok=True)
    if (runtime / name).exists():
        (runtime / name).rename(target)
        os.utime(target, (time.time(), time.time()))


def bring_back(runtime: Path, name: str, token: str) -> None:
    """Move it back, if it is there. Raises `RuntimeFailure` when the name has files by now."""
    source = _trash(runtime, name, token)
    if not source.exists():
        return
    if (runtime / name).exists():
        raise RuntimeFailure(f"Another server uses the name “{name}” now. Delete or rename that one first.")
    source.rename(runtime / name)


def delete_aside(runtime: Path, name: str, token: str) -> None:
    """Delete what was put aside, if it is there."""
    delete_tree(_trash(runtime, name, token))


def purge(runtime: Path, older_than: timedelta) -> int:
    """Delete what was put aside longer ago than that; returns how many folders went."""
    limit = time.time() - older_than.total_seconds()
    old = [path for path in (runtime / TRASH).glob("*") if path.lstat().st_mtime < limit]
    for path in old:
        delete_tree(path)
    return len(old)


def _trash(runtime: Path, name: str, token: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9-]+", token):
        raise ValueError("a token is letters, digits and hyphens")
    return runtime / TRASH / f"{name}.{token}"
