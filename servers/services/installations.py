"""Asking for a game's files on a node, and the rows that say how a version being built fares."""

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from jobs import events
from jobs.models import Job
from jobs.services import enqueue
from servers import games
from servers.models import Installation, Node, Server
from servers.services.versions import make_current, topic

if TYPE_CHECKING:
    from portal.models import User

INSTALL, CLEAN_UP = "installations.install", "installations.clean_up"
TIME_LIMIT = 4 * 3600  # a first Left 4 Dead 2 is 9 GiB over a home line
DETAIL_LENGTH = 300


def folder(installation: Installation) -> Path:
    """Where that version's files lie on its node."""
    return Path(settings.STATE_DIR) / "installations" / installation.game / installation.version


def install_game(*, by: "User | None", node: Node, game: str, update: bool = False) -> Job:
    """Install `game` on `node`; `update` builds a new version even when there is one. Raises `UnknownGame`."""
    definition = games.get(game)
    return enqueue(
        kind=INSTALL,
        subject=topic(node, game),
        title=f"{'Update' if update else 'Install'} {definition.name}",
        args={"node": node.slug, "game": game, "update": update},
        node=node.slug,
        requested_by=by,
        coalesce=True,
        join=Job.ACTIVE,
        time_limit=TIME_LIMIT,
    )


def clean_up_game(*, by: "User | None", node: Node, game: str, unused: bool = True) -> Job:
    """Delete what killed builds left and, with `unused`, versions that nobody needs any more."""
    definition = games.all_games().get(game)
    return enqueue(
        kind=CLEAN_UP,
        subject=topic(node, game),
        title=f"Clean up {definition.name if definition else game}",
        args={"node": node.slug, "game": game, "unused": unused},
        node=node.slug,
        requested_by=by,
        coalesce=True,
        join=Job.ACTIVE,
    )


def clean_up_lost_builds(*, node: Node) -> list[Job]:
    """The jobs that clear builds whose own job ended without doing so, because it was killed."""
    building = Installation.objects.filter(node=node, state=Installation.State.BUILDING)
    found = {topic(node, game): game for game in building.values_list("game", flat=True).distinct()}
    busy = set(Job.objects.active().about(*found).values_list("subject", flat=True)) if found else set()
    return [
        clean_up_game(by=None, node=node, game=game, unused=False)
        for subject, game in found.items()
        if subject not in busy
    ]


def installation_for_start(server: Server, *, by: "User | None") -> Job | None:
    """The job a start must wait for: none when the node has the game, else what installs it already, or a new one."""
    games.get(server.game)
    if Installation.objects.filter(node=server.node, game=server.game, is_current=True).exists():
        return None
    installing = Job.objects.active().about(topic(server.node, server.game)).filter(kind=INSTALL)
    return installing.order_by("pk").last() or install_game(by=by, node=server.node, game=server.game)


def begin_build(*, node: Node, game: str, job: int) -> Installation:
    """The row of a version being built; it has a name of its own until its files are there."""
    made, _ = Installation.objects.update_or_create(
        node=node, game=game, version=f"build-{job}", defaults={"state": Installation.State.BUILDING, "job_id": job}
    )
    events.publish(topic(node, game))
    return made


def name_build(*, build: Installation, version: str, size_bytes: int, shared_bytes: int) -> None:
    """The files are in place under that version's name. One that failed before under the same name is forgotten."""
    versions = Installation.objects.filter(node=build.node, game=build.game)
    with transaction.atomic():
        versions.filter(version=version, state=Installation.State.FAILED).delete()
        building = versions.filter(pk=build.pk, state=Installation.State.BUILDING)
        if not building.update(version=version, size_bytes=size_bytes, shared_bytes=shared_bytes):
            raise ValueError(f"{build} is not being built")
    build.version = version


def fail_build(*, build: Installation, detail: str) -> bool:
    """Nothing will use it. Returns whether it was being built: only then may its files go."""
    building = Installation.objects.filter(pk=build.pk, state=Installation.State.BUILDING)
    failed = building.update(state=Installation.State.FAILED, detail=detail[:DETAIL_LENGTH], size_bytes=0)
    events.publish(topic(build.node, build.game))
    return bool(failed)


def hold_version(*, build: Installation, detail: str) -> None:
    """The build runs, and something in use does not run on it: nobody moves to it by themselves."""
    building = Installation.objects.filter(pk=build.pk, state=Installation.State.BUILDING)
    if not building.update(state=Installation.State.HELD, detail=detail[:DETAIL_LENGTH]):
        raise ValueError(f"{build} is not being built")
    events.publish(topic(build.node, build.game))


def forget_held(*, node: Node, game: str, version: str) -> bool:
    """Before the same version is tried anew. Returns whether there was one: only then may its files go."""
    held = Installation.objects.filter(node=node, game=game, version=version, state=Installation.State.HELD)
    return held.delete()[0] > 0


def finish_version(*, build: Installation) -> None:
    """The build passed its trial: servers take it at their next start."""
    with transaction.atomic():
        building = Installation.objects.filter(pk=build.pk, state=Installation.State.BUILDING)
        if not building.update(state=Installation.State.READY):
            raise ValueError(f"{build} is not being built")
        make_current(build)


def reuse_version(*, build: Installation, known: Installation) -> None:
    """The build turned out to be a version that is there already: make that the current one again."""
    with transaction.atomic():
        build.delete()
        make_current(known)
