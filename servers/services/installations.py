"""Asking for a game's files on a node, and the rows that say how each version fares."""

from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction

from jobs import events
from jobs.models import Job
from jobs.services import enqueue
from servers import games
from servers.models import Installation, Node, Server

if TYPE_CHECKING:
    from portal.models import User

INSTALL = "installations.install"
TIME_LIMIT = 4 * 3600  # a first Left 4 Dead 2 is 9 GiB over a home line


def topic(node: Node, game: str) -> str:
    """Subject of the jobs that install `game` on `node`; one runs at a time."""
    return f"installation:{node.slug}:{game}"


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
        time_limit=TIME_LIMIT,
    )


def installation_for_start(server: Server, *, by: "User | None") -> Job | None:
    """The job a start must wait for: none when the node has the game, else what installs it already, or a new one."""
    games.get(server.game)
    if Installation.objects.filter(node=server.node, game=server.game, is_current=True).exists():
        return None
    running = Job.objects.active().about(topic(server.node, server.game)).order_by("pk").last()
    return running or install_game(by=by, node=server.node, game=server.game)


def begin_build(*, node: Node, game: str, job: int) -> Installation:
    """The row of a version being built. What a killed attempt left becomes failed: no other job builds this game."""
    Installation.objects.filter(node=node, game=game, state=Installation.State.BUILDING).update(
        state=Installation.State.FAILED
    )
    made, _ = Installation.objects.update_or_create(
        node=node, game=game, version=f"build-{job}", defaults={"state": Installation.State.BUILDING}
    )
    events.publish(topic(node, game))
    return made


def fail_build(*, installation: Installation) -> None:
    """Its files are gone and nothing will use it."""
    Installation.objects.filter(pk=installation.pk, state=Installation.State.BUILDING).update(
        state=Installation.State.FAILED
    )
    events.publish(topic(installation.node, installation.game))


def promote(*, installation: Installation, version: str, size_bytes: int) -> None:
    """Make a finished build the version that servers take at their next start."""
    versions = Installation.objects.filter(node=installation.node, game=installation.game)
    with transaction.atomic():
        versions.filter(is_current=True).update(is_current=False)
        done = versions.filter(pk=installation.pk, state=Installation.State.BUILDING).update(
            state=Installation.State.READY, is_current=True, version=version, size_bytes=size_bytes
        )
        if not done:
            raise ValueError(f"{installation} is not being built")
        events.publish(topic(installation.node, installation.game))


def reuse_version(*, build: Installation, known: Installation) -> None:
    """The build turned out to be a version that is there already: make that the current one again."""
    versions = Installation.objects.filter(node=build.node, game=build.game)
    with transaction.atomic():
        versions.filter(is_current=True).update(is_current=False)
        versions.filter(pk=known.pk, state=Installation.State.READY).update(is_current=True)
        build.delete()
        events.publish(topic(build.node, build.game))
