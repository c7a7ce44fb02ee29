"""Deleting keeps a server's files for a week; restoring brings it back; purging ends it.

A deleted server frees its name and ports at once, so its files are put aside under a token of its own.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from jobs import events
from jobs.models import Job, Stream
from jobs.services import enqueue
from servers import access, games
from servers.errors import CannotRestore
from servers.models import KEEP_DELETED, Node, Server
from servers.services.common import locked, record, supersede, tell_users
from servers.services.creation import save_named
from servers.services.ports import give_ports
from servers.services.power import RESTART, START, STOP
from servers.services.quotas import note_use

if TYPE_CHECKING:
    from portal.models import User

DELETE, RESTORE, PURGE, FORGET = "servers.delete", "servers.restore", "servers.purge", "servers.forget"


def delete_server(*, by: "User", server: Server) -> Job:
    """Take the server off its owner's list at once; the job stops it and puts its files aside. Raises `ServerGone`,
    and as `access.require_owner` does."""
    with locked(server) as fresh:
        access.require_owner(by, fresh, "delete")
        supersede(fresh, [START, STOP, RESTART], Job.ACTIVE, by=by)
        Server.objects.filter(pk=fresh.pk).update(
            deleted_at=timezone.now(), put_away_at=None, desired=Server.Desired.STOP
        )
        fresh.ports.all().delete()
        return _enqueue(fresh, DELETE, "Delete", by=by)


def restore_server(*, by: "User", server: Server) -> Job:
    """Bring a deleted server back, stopped, with new ports; the job brings its files back.

    Raises `CannotRestore`, `NameTaken` (somebody took the name meanwhile), `NoFreePort`, `UnknownGame`.
    """
    with transaction.atomic():
        fresh = Server.objects.select_for_update(of=("self",)).select_related("node", "owner").get(pk=server.pk)
        if not fresh.deleted_at:
            raise CannotRestore(f"{fresh.name} is not deleted.")
        if Job.objects.active().about(fresh.topic).filter(kind=DELETE).exists():
            raise CannotRestore(f"{fresh.name} is still being deleted. Try again in a moment.")
        if _outlived(fresh.node.slug).filter(pk=fresh.pk).exists():
            raise CannotRestore(f"{fresh.name} is being deleted for good. Create a new server.")
        fresh.deleted_at = None
        save_named(fresh)
        give_ports(fresh, games.get(fresh.game))
        return _enqueue(fresh, RESTORE, "Restore", by=by)


def delete_for_good(*, by: "User", server: Server) -> Job:
    """Delete a deleted server's files now, which makes room; nobody can bring it back then. Raises `CannotRestore`."""
    with transaction.atomic():
        fresh = Server.objects.select_for_update(of=("self",)).select_related("node", "owner").get(pk=server.pk)
        if not fresh.deleted_at:
            raise CannotRestore(f"{fresh.name} is not deleted.")
        return _enqueue(fresh, FORGET, "Delete for good", by=by)


def begin_forgetting(*, server: Server) -> bool:
    """The job's first step; whether the server is a deleted one, whose files are in the trash.

    From now on it counts as outlived: it cannot be restored, and where this job is killed, the next purge goes on.
    """
    deleted = Server.objects.filter(pk=server.pk).exclude(deleted_at=None).exclude(put_away_at=None)
    return deleted.update(put_away_at=timezone.now() - KEEP_DELETED) > 0


def forget_server(*, server: Server) -> None:
    """The job's: its files are gone, and now its rows."""
    with transaction.atomic():
        if fresh := Server.objects.select_for_update(of=("self",)).filter(pk=server.pk).first():
            fresh.delete()
            Stream.objects.filter(pk=fresh.console_id).delete()
    note_use(server.owner_id)
    tell_users(server.owner_id)


def finish_put_away(*, server: Server, at: datetime | None) -> None:
    """The job's last step: the server is stopped and its files are aside since `at`, or back in place (None)."""
    Server.objects.filter(pk=server.pk).update(put_away_at=at, unit=Server.Unit.STOPPED, unit_detail="", query={})
    events.publish(server.topic)


def request_purge(*, node: Node) -> Job | None:
    """The job that deletes files put aside too long ago, when there are any."""
    if not _outlived(node.slug).exists():
        return None
    return enqueue(
        kind=PURGE, subject=f"purge:{node.slug}", title="Delete old files for good", args={"node": node.slug},
        node=node.slug, coalesce=True,
    )  # fmt: skip


def outlived(node: str) -> list[Server]:
    """Deleted servers whose files were put aside so long ago that they are to go for good."""
    return list(_outlived(node))


def purge_server(*, server: Server) -> bool:
    """Forget an outlived server whose files the job has deleted; whether it was one still."""
    with transaction.atomic():
        found = _outlived(server.node.slug).filter(pk=server.pk)
        fresh = found.select_for_update(of=("self",)).select_related("console").first()
        if fresh:
            fresh.delete()
            fresh.console.delete()
    return fresh is not None


def _outlived(node: str) -> QuerySet[Server]:
    old = timezone.now() - KEEP_DELETED
    return Server.objects.filter(node__slug=node, put_away_at__lt=old).exclude(deleted_at=None).select_related("node")


def _enqueue(server: Server, kind: str, verb: str, *, by: "User") -> Job:
    job = enqueue(
        kind=kind,
        subject=server.topic,
        title=f"{verb} {server.name}",
        args={"server": server.pk},
        node=server.node.slug,
        requested_by=by,
    )
    record(by, server, verb.lower(), job=job.pk)
    members = get_user_model().objects.filter(memberships__server=server).values_list("pk", flat=True)
    tell_users(server.owner_id, *members)
    events.publish(f"access:{server.topic}")
    return job
