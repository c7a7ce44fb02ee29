"""A server's folders below STATE_DIR/runtime: made, given fresh config, put aside and deleted. Both runtimes use it."""

import os
import re
import shutil
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from servers.runtime.base import RuntimeFailure
from servers.runtime.beneath import NotBeneath, write_beneath
from servers.runtime.deleting import delete_tree

FOLDERS = ("upper", "work", "merged", "console")
TRASH = ".trash"
GONE = ".gone"  # ends the name of what is being deleted for good
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
    """Delete what was put aside, if it is there. Raises `RuntimeFailure`."""
    try:
        _delete_for_good(_trash(runtime, name, token))
    except OSError as error:
        raise RuntimeFailure(
            f"Some files of {name} could not be deleted ({error.strerror}), so they still count. "
            "Ask an admin to look at them, then try again."
        ) from error


def purge(runtime: Path, older_than: timedelta) -> int:
    """Delete what came into the trash longer ago than that, and what a deletion that was killed left; returns how many
    folders went.

    Raises `RuntimeFailure` with those that cannot be deleted, once all others are.
    """
    limit = time.time() - older_than.total_seconds()
    old = [path for path in (runtime / TRASH).glob("*") if path.suffix == GONE or path.lstat().st_mtime < limit]
    failed = []
    for path in old:
        try:
            _delete_for_good(path)
        except OSError as error:
            failed.append(f"{path.name} ({error.strerror})")
    if failed:
        raise RuntimeFailure(f"Some folders could not be deleted: {', '.join(failed[:20])}. Ask an admin to do it.")
    return len(old)


def _delete_for_good(path: Path) -> None:
    """Under another name from the first, so that what a kill leaves is not brought back, nor kept for another week."""
    gone = path if path.suffix == GONE else path.with_name(path.name + GONE)
    if path != gone and path.exists():
        delete_tree(gone)  # left of another that had this name
        path.rename(gone)
    delete_tree(gone)


def _trash(runtime: Path, name: str, token: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9-]+", token):
        raise ValueError("a token is letters, digits and hyphens")
    return runtime / TRASH / f"{name}.{token}"
