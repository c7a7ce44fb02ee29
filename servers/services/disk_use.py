"""What was measured of a server's files, and what follows when its owner has more than they may have."""

from contextlib import suppress

from django.utils import timezone

from jobs import events
from servers.disk import DiskUse
from servers.errors import ServerGone
from servers.models import Server
from servers.services.common import locked, record
from servers.services.power import stop_server
from servers.services.quotas import note_use
from servers.services.sending import show_on_console

SHOWN_CHANGE = 1 << 20  # bytes; pages are not told of less


def record_disk(*, server: Server, size: int, is_cut: bool = False) -> None:
    """What its own files take now. One that goes on writing beyond its owner's limit and reserve is stopped."""
    before = Server.objects.filter(pk=server.pk).values_list("disk_bytes", flat=True).first() or 0
    values = {"disk_bytes": size, "disk_measured_at": timezone.now(), "disk_is_cut": is_cut}
    if not Server.objects.filter(pk=server.pk).update(**values):
        return
    if abs(size - before) >= SHOWN_CHANGE:
        events.publish(server.topic)
    use = note_use(server.owner_id)
    if use.is_beyond and size > before:
        _stop(server, use)


def _stop(server: Server, use: DiskUse) -> None:
    if not Server.objects.present().filter(pk=server.pk, desired=Server.Desired.RUN).exists():
        return
    with suppress(ServerGone), locked(server) as fresh:
        if fresh.desired == Server.Desired.RUN:
            show_on_console(fresh, f"[left4me] Stopped, since it goes on writing: {use.sentence}")
            record(None, fresh, "disk full", used=use.used, limit=use.limit)
            stop_server(by=None, server=fresh)
