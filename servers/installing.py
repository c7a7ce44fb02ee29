"""Building one version of a game's files: into a folder of its own, moved into place whole, never written again."""

import os
import re
import shutil
from pathlib import Path

from django.conf import settings

from jobs.registry import JobError
from jobs.run import Run
from servers import installers, services
from servers.games import Game
from servers.models import Installation, Node

PARTIAL = ".partial-"
FULL = 8 * 2**20  # bytes left when an unpacking program has stopped for want of room
DISK_FULL = "The machine's disk is full. Ask an admin to make room, then retry. Nothing was left behind."


def install(run: Run, *, node: Node, game: Game, update: bool) -> None:
    """Install `game` on this machine unless it is there; `update` builds the newest version also then.

    A build that fails or is killed leaves nothing behind: the next run clears what a kill left. Raises `JobError`.
    """
    current = Installation.objects.filter(node=node, game=game.slug, is_current=True).first()
    if current and not update:
        run.log(f"{game.name} {current.version} is installed.")
        return
    place = Path(settings.STATE_DIR) / "installations" / game.slug
    _clear_partial(place)
    build = services.begin_build(node=node, game=game.slug, job=run.job_id)
    partial = place / f"{PARTIAL}{run.job_id}"
    try:
        partial.mkdir(parents=True)
        version = _folder_name(installers.install(game, into=partial, run=run))
        _put_in_place(run, build, partial, version)
    except BaseException as error:
        is_full = shutil.disk_usage(place).free < FULL
        _clear_partial(place)
        services.fail_build(installation=build)
        if is_full and isinstance(error, OSError | JobError):
            raise JobError(DISK_FULL) from error
        raise


def _put_in_place(run: Run, build: Installation, partial: Path, version: str) -> None:
    known = Installation.objects.filter(node=build.node, game=build.game, version=version).first()
    target = partial.with_name(version)
    if known and target.is_dir():
        run.log(f"Version {version} was installed before; it is used again.")
        services.reuse_version(build=build, known=known)
        shutil.rmtree(partial)
        return
    size = _size(partial)
    shutil.rmtree(target, ignore_errors=True)  # a run that was killed between these two steps left it
    partial.rename(target)
    services.promote(installation=build, version=version, size_bytes=size)
    run.log(f"Installed version {version}, {size / 2**20:.0f} MiB.")


def _clear_partial(place: Path) -> None:
    for leftover in place.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _folder_name(version: str) -> str:
    """A version as a folder's name: overlayfs parts its options by colon and comma."""
    return re.sub(r"[^A-Za-z0-9._+~-]", "_", version).lstrip(".")[:100] or "unnamed"


def _size(folder: Path) -> int:
    return sum(
        entry.lstat().st_size
        for parent, _, names in os.walk(folder)
        for entry in (Path(parent, name) for name in names)
    )
