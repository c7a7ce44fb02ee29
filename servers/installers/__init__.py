"""Puts a game's files into an empty folder, by the method its definition names."""

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from jobs.run import Run
from servers.games.schema import BuiltinInstall, DebianInstall, Game, SteamcmdInstall
from servers.installers import debian, steamcmd
from servers.installers.tree import InstallError, tidy
from servers.runtime.deleting import delete_tree

__all__ = ["InstallError", "give_up", "install", "newest_version"]


def install(game: Game, *, into: Path, run: Run, former: Path | None = None) -> str:
    """Install `game` into `into`, an empty or absent folder, and return the version.

    `former`: the version before, if there is one, for methods that download only what changed.

    Raises `InstallError`, or another `JobError` from a program it runs; then `into` is gone.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        version = _by_method(game, into, former, run)
        tidy(into, run.log)
    except BaseException:
        with suppress(OSError):
            delete_tree(into)
        raise
    return version


def give_up(game: Game, folder: Path) -> None:
    """Delete a version on which no server runs; a large download is kept for the next try, where the method can."""
    if isinstance(game.install, SteamcmdInstall) and folder.is_dir():
        steamcmd.salvage(game, folder)
    delete_tree(folder)


def newest_version(game: Game, *, run: Run) -> str:
    """The version that an installation would give now. Raises `InstallError`."""
    method = game.install
    if isinstance(method, DebianInstall):
        return debian.newest_version(method.packages, run)
    if isinstance(method, BuiltinInstall):
        raise InstallError(f"{game.name} comes with the portal and is updated with it.")
    return steamcmd.newest_build(method, run)


def _by_method(game: Game, into: Path, former: Path | None, run: Run) -> str:
    method = game.install
    if isinstance(method, DebianInstall):
        return debian.install(game.name, method.packages, into, run)
    if isinstance(method, BuiltinInstall):
        return _copy_builtin(method.folder, into)
    return steamcmd.install(game, method, into, former, run)


def _copy_builtin(folder: str, into: Path) -> str:
    """The folder below its own name, so that `python -m` finds it; its version is a digest of what is in it."""
    source = settings.BASE_DIR / "servers" / "games" / folder
    if not source.is_dir():
        raise InstallError(f"The portal comes without the folder {folder!r}. Ask an admin to install the portal again.")
    shutil.copytree(source, into / folder, ignore=shutil.ignore_patterns("__pycache__"))
    digest = hashlib.sha256()
    for path in sorted((into / folder).rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(into).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"builtin-{digest.hexdigest()[:12]}"
