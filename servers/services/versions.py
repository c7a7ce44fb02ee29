"""Versions of a game beside one another: which of them servers start on, and which may go.

Whoever points a server at a version, makes one current or forgets one holds that version's row while doing so.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from jobs import events
from servers.errors import VersionInUse, VersionRefused
from servers.models import AuditEvent, Installation, Node, Server

if TYPE_CHECKING:
    from portal.models import User

ATTEMPTS = 5  # to hold the current version's row, each lost to somebody who made another one current


def topic(node: Node, game: str) -> str:
    """Subject of the jobs that install `game` on `node`, of which one runs at a time, and topic of its versions."""
    return f"installation:{node.slug}:{game}"


def promote_version(*, by: "User", installation: Installation) -> None:
    """Make a version that is there the current one, be it newer or older; one that is held back is for administrators.
    Raises `VersionRefused`."""
    with transaction.atomic():
        rows = _held(installation.node, installation.game).filter(pk=installation.pk)
        row = rows.filter(state__in=Installation.USABLE).first()
        if row is None:
            raise VersionRefused(f"{installation} is not ready to be used. Install it again.")
        if row.state == Installation.State.HELD and not by.is_superuser:
            raise VersionRefused(f"{row.detail} Only an administrator may promote it anyway.")
        facts = {"game": row.game, "version": row.version, "node": row.node.slug}
        if row.state == Installation.State.HELD:
            rows.update(state=Installation.State.READY)
            facts["anyway"] = row.detail
        make_current(installation)
        AuditEvent.objects.create(actor=by, action="promote", detail=facts)


def make_current(installation: Installation) -> None:
    """Within a transaction: the switch of the pointer. Servers that run stay where they are until their next start."""
    rows = _held(installation.node, installation.game)
    rows.filter(is_current=True).exclude(pk=installation.pk).update(is_current=False)
    if rows.filter(pk=installation.pk, is_current=False, state="ready").update(
        is_current=True, promoted_at=timezone.now()
    ):
        events.publish(topic(installation.node, installation.game))


def use_current_version(*, server: Server, layers: Sequence[str] = ()) -> Installation | None:
    """Point the server at the version and layer builds it is about to start on: this is where it moves to new ones.

    From here on that version cannot be forgotten. Returns it, or None when the game is not installed.
    """
    current = Installation.objects.filter(node=server.node, game=server.game, is_current=True)
    for _ in range(ATTEMPTS):
        with transaction.atomic():
            if found := current.select_for_update(no_key=True).first():
                Server.objects.filter(pk=server.pk).update(installation=found, mounted=list(layers))
                events.publish(topic(server.node, server.game))
                return found
            if not current.exists():
                return None
    raise VersionRefused("The game's versions are being changed at this moment. Try again.")


def unused_versions(node: Node, game: str) -> QuerySet[Installation]:
    """Versions that may go: not current, no server stands on them, and not the one that was current before."""
    rows = Installation.objects.filter(node=node, game=game, is_current=False)
    former = rows.filter(state=Installation.State.READY, promoted_at__isnull=False).order_by(F("promoted_at").desc())
    standing = Server.objects.filter(put_away_at=None, installation__in=rows).values("installation")
    return (
        rows.exclude(state=Installation.State.BUILDING).exclude(pk__in=former.values("pk")[:1]).exclude(pk__in=standing)
    )


def forget_version(*, installation: Installation) -> None:
    """Delete the row, after which the files may go. Raises `VersionInUse`."""
    with transaction.atomic():
        row = _held(installation.node, installation.game).filter(pk=installation.pk).first()
        if row is None:
            return
        # Deleted servers whose files are aside start on the current version if they are brought back.
        Server.objects.filter(installation=row).exclude(put_away_at=None).update(installation=None)
        on_it = list(Server.objects.filter(installation=row).values_list("name", flat=True)[:5])
        if row.is_current or row.state == Installation.State.BUILDING or on_it:
            users = ", ".join(on_it) or ("every server that starts" if row.is_current else "the job that builds it")
            raise VersionInUse(f"{row} is used by {users}. Promote another version and restart them first.")
        row.delete()
        events.publish(topic(installation.node, installation.game))


def _held(node: Node, game: str) -> QuerySet[Installation]:
    """The game's versions, held until the transaction ends; in order, so that two callers cannot block each other."""
    rows = Installation.objects.filter(node=node, game=game)
    list(rows.select_for_update().order_by("pk").values_list("pk"))
    return rows
