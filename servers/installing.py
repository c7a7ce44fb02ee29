"""Building one version of a game's files: into a folder of its own, tried, and never written again."""

import os
import re
import shutil
from pathlib import Path

from django.conf import settings

from jobs.registry import JobError
from jobs.run import Run
from servers import installers, services, trial, trial_stacks
from servers.errors import VersionInUse
from servers.games import Game
from servers.installers.tree import share_unchanged
from servers.models import Installation, Node
from servers.provenance.listing import list_files
from servers.runtime.deleting import delete_tree

PARTIAL = ".partial-"
FULL = 8 * 2**20  # bytes left when an unpacking program has stopped for want of room
DISK_FULL = "The machine's disk is full. Ask an admin to make room, then retry. Nothing was left behind."


def install(run: Run, *, node: Node, game: Game, update: bool) -> None:
    """Install `game` on this machine unless it is there; `update` builds the newest version also then.

    The new version becomes the current one once a server was seen to run on it. A build that fails or is killed leaves
    nothing behind: the next run clears what a kill left. Raises `JobError`.
    """
    current = Installation.objects.filter(node=node, game=game.slug, is_current=True).first()
    if current and not update:
        run.log(f"{game.name} {current.version} is installed.")
        return
    _clear_leftovers(node, game.slug)
    place = _place(game.slug)
    build = services.begin_build(node=node, game=game.slug, job=run.job_id)
    partial = place / f"{PARTIAL}{run.job_id}"
    try:
        partial.mkdir(parents=True)
        version = _folder_name(installers.install(game, into=partial, run=run, former=_folder_of(current)))
        if not _is_there_already(run, build, partial, version):
            _put_in_place(run, build, partial, version, current)
            list_files(build, check=run.check)
            trial.try_out(run, build, game)
            _promote(run, build, current, game)
    except BaseException as error:
        is_full = shutil.disk_usage(place).free < FULL
        _abandon(build, game, partial, error)
        if is_full and isinstance(error, OSError | JobError):
            raise JobError(DISK_FULL) from error
        raise


def _promote(run: Run, build: Installation, current: Installation | None, game: Game) -> None:
    """Make it the current one, unless layers in use lose something by it. Raises `JobError`."""
    lost = trial_stacks.what_is_lost(run, build, current, game) if current and _folder_of(current) else ""
    if lost:
        services.hold_version(build=build, detail=lost)
        raise JobError(
            f"{lost} The version was tried and is not used. Mend the layer and update again; an administrator can "
            "also promote it anyway, on the page Installations."
        )
    services.finish_version(build=build)
    run.log(f"Version {build.version} is used from each server's next start.")


def check_for_updates(run: Run, *, node: Node, game: Game) -> None:
    """Find out which version is the newest, and have it installed where that is ticked. Raises `JobError`."""
    version = _folder_name(installers.newest_version(game, run=run))
    if job := services.record_newest(node=node, game=game.slug, version=version):
        run.log(f"Version {version} is new. “{job.title}” was asked for.")
    else:
        run.log(f"Version {version} is the newest.")


def clean_up(run: Run, *, node: Node, game: str, unused: bool) -> None:
    """Clear what killed builds left and, with `unused`, the versions that nobody needs. Raises `JobError`."""
    _clear_leftovers(node, game)
    for version in services.unused_versions(node, game) if unused else ():
        run.check()
        try:
            services.forget_version(installation=version)
        except VersionInUse as error:  # since a moment ago
            run.log(str(error))
            continue
        freed = _own_size(services.folder(version))
        delete_tree(services.folder(version))
        run.log(f"Deleted version {version.version}, which frees {freed / 2**20:.0f} MiB.")
    run.log("What is left is used, or was used before and can be gone back to.")


def _is_there_already(run: Run, build: Installation, partial: Path, version: str) -> bool:
    ready = Installation.objects.filter(node=build.node, game=build.game, state=Installation.State.READY)
    known = ready.filter(version=version).first()
    if not known or not services.folder(known).is_dir():
        return False
    run.log(f"Version {version} was installed before; it is used again.")
    services.reuse_version(build=build, known=known)
    delete_tree(partial)
    return True


def _put_in_place(run: Run, build: Installation, partial: Path, version: str, former: Installation | None) -> None:
    shared = share_unchanged(partial, before, run.check) if (before := _folder_of(former)) else 0
    size = _size(partial)
    if services.forget_held(node=build.node, game=build.game, version=version):
        delete_tree(partial.with_name(version))
    partial.rename(partial.with_name(version))
    services.name_build(build=build, version=version, size_bytes=size, shared_bytes=shared)
    run.log(f"Installed version {version}: {size / 2**20:.0f} MiB, of which {shared / 2**20:.0f} shared with the last.")


def _abandon(build: Installation, game: Game, partial: Path, error: BaseException) -> None:
    detail = str(error) if isinstance(error, JobError) else "It was stopped before it was done."
    if services.fail_build(build=build, detail=detail.partition("\n")[0]):
        installers.give_up(game, services.folder(build))
    delete_tree(partial)


def _clear_leftovers(node: Node, game: str) -> None:
    """No other job builds this game while one has its subject: what is half-made was left by one that was killed."""
    for build in Installation.objects.filter(node=node, game=game, state=Installation.State.BUILDING):
        trial.end(build)
        services.fail_build(build=build, detail="The job that built it was killed.")
    usable = Installation.objects.filter(node=node, game=game, state__in=Installation.USABLE)
    known = set(usable.values_list("version", flat=True))
    for folder in _place(game).glob("*"):
        if folder.name not in known:
            delete_tree(folder)


def _place(game: str) -> Path:
    return Path(settings.STATE_DIR) / "installations" / game


def _folder_of(version: Installation | None) -> Path | None:
    """Its files, if they are there."""
    return services.folder(version) if version and services.folder(version).is_dir() else None


def _folder_name(version: str) -> str:
    """A version as a folder's name: overlayfs parts its options by colon and comma."""
    return re.sub(r"[^A-Za-z0-9._+~-]", "_", version).lstrip(".")[:100] or "unnamed"


def _size(folder: Path) -> int:
    return sum(facts.st_size for facts in _facts(folder))


def _own_size(folder: Path) -> int:
    """What deleting it frees: not what another version shares."""
    return sum(facts.st_size for facts in _facts(folder) if facts.st_nlink == 1)


def _facts(folder: Path) -> list[os.stat_result]:
    found = ((parent, name) for parent, _, names in os.walk(folder) for name in names)
    return [Path(parent, name).lstat() for parent, name in found]
