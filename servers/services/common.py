"""What every write to a server shares: the row lock that puts presses in order, the audit trail, the wake-ups."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs import events
from jobs.models import Job
from jobs.services import cancel
from servers.access import may_override
from servers.errors import ServerGone
from servers.models import AuditEvent, Server

if TYPE_CHECKING:
    from portal.models import User

KEEP_EVENTS = timedelta(days=365)


@contextmanager
def locked(server: Server) -> Iterator[Server]:
    """A transaction that holds the server's row, read afresh; two presses at once follow one another.

    Raises `ServerGone` when it was deleted.
    """
    with transaction.atomic():
        fresh = Server.objects.select_for_update(of=("self",)).select_related("node", "owner").get(pk=server.pk)
        if fresh.deleted_at:
            raise ServerGone(fresh.name)
        yield fresh


def record(by: "User | None", server: Server, action: str, **detail: Any) -> None:
    """Note who did what, and tell every page that shows the server."""
    AuditEvent.objects.create(actor=by, server=server, action=action, detail={"name": server.name} | detail)
    events.publish(server.topic)


def forget_events() -> int:
    """Delete what was noted more than `KEEP_EVENTS` ago; returns how much."""
    return AuditEvent.objects.filter(at__lt=timezone.now() - KEEP_EVENTS).delete()[0]


def tell_users(*users: "int | User") -> None:
    """The set of servers these users see changed, and with it what moderators see."""
    numbers = {user if isinstance(user, int) else user.pk for user in users}
    events.publish("servers", *(f"user:{number}" for number in sorted(numbers)))


def supersede(server: Server, kinds: Collection[str], states: Collection[str], *, by: "User | None") -> None:
    """Cancel what was asked of the server before and is no longer wanted: queued at once, running by request."""
    asked = Job.objects.about(server.topic).filter(kind__in=kinds, state__in=states).select_related("requested_by")
    for job in asked:
        if may_override(by, job):
            cancel(job=job, by=by)


def violated(error: IntegrityError) -> str:
    """Name of the database constraint that refused a write."""
    diagnostics = getattr(error.__cause__, "diag", None)
    return getattr(diagnostics, "constraint_name", None) or ""
