"""Looking for newer versions: by the agent now and then, told on the page, and installed only where that is ticked."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from jobs import events
from jobs.models import Job
from jobs.services import enqueue
from servers import games
from servers.models import Installation, Node, UpdateCheck
from servers.services.installations import install_game
from servers.services.versions import topic

if TYPE_CHECKING:
    from portal.models import User

CHECK = "installations.check"
EVERY = timedelta(hours=6)


def request_check(*, by: "User | None", node: Node, game: str) -> Job:
    """Ask where the game comes from which version is the newest. Raises `UnknownGame`."""
    definition = games.get(game)
    return enqueue(
        kind=CHECK,
        subject=f"updates:{node.slug}:{game}",
        title=f"Look for updates of {definition.name}",
        args={"node": node.slug, "game": game},
        node=node.slug,
        requested_by=by,
        coalesce=True,
        join=Job.ACTIVE,
    )


def request_due_checks(*, node: Node) -> list[Job]:
    """For installed games whose last look is long ago. The time is noted now, so that a failing look is no loop."""
    installed = Installation.objects.filter(node=node, is_current=True).values_list("game", flat=True)
    found = [game for game in installed if game in games.all_games() and games.get(game).install.method != "builtin"]
    for game in found:
        UpdateCheck.objects.get_or_create(node=node, game=game)
    due = UpdateCheck.objects.filter(node=node, game__in=found).exclude(asked_at__gt=timezone.now() - EVERY)
    jobs = [request_check(by=None, node=node, game=check.game) for check in due]
    due.update(asked_at=timezone.now())
    return jobs


def record_newest(*, node: Node, game: str, version: str) -> Job | None:
    """Note what is the newest; returns the job that installs it where that is ticked and it was never tried before."""
    now = timezone.now()
    check, _ = UpdateCheck.objects.update_or_create(
        node=node, game=game, defaults={"newest": version, "checked_at": now, "asked_at": now}
    )
    events.publish(topic(node, game))
    tried = Installation.objects.filter(node=node, game=game, version=version).exists()
    return install_game(by=None, node=node, game=game, update=True) if check.auto_update and not tried else None


def set_auto_update(*, node: Node, game: str, on: bool) -> None:
    """Whether a newer version is installed as soon as it is found. Raises `UnknownGame`."""
    games.get(game)
    UpdateCheck.objects.update_or_create(node=node, game=game, defaults={"auto_update": on})
    events.publish(topic(node, game))
