"""What was seen of a node and its servers: written by the agent alone."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs import events
from servers.doctor.check import Check
from servers.models import HostReport, Node, Server
from servers.seeds import ensure_node


def record_unit(*, server: Server, unit: str, detail: str, at: datetime | None) -> None:
    """The state the runtime reports. What the game answered before the change no longer holds."""
    values: dict[str, Any] = {"unit": unit, "unit_detail": detail, "unit_at": at or timezone.now()}
    if unit != server.unit or at not in (None, server.unit_at):
        values |= {"query": {}, "query_at": None}
    if Server.objects.filter(pk=server.pk).update(**values):
        events.publish(server.topic)


def record_query(*, server: Server, query: dict[str, Any], publish: bool) -> None:
    """The game's last answer, unless the server stopped meanwhile."""
    running = Server.objects.filter(pk=server.pk, unit=Server.Unit.RUNNING)
    if running.update(query=query, query_at=timezone.now()) and publish:
        events.publish(server.topic)


def record_host_report(*, checks: Iterable[Check]) -> None:
    """What the doctor found on this node, for the page *Hosts* in the admin."""
    found = [{"name": check.name, "state": check.state, "detail": check.detail} for check in checks]
    HostReport.objects.update_or_create(node=ensure_node(), defaults={"at": timezone.now(), "checks": found})


def beat(*, node: Node, info: dict[str, Any]) -> None:
    """The node's agent is alive."""
    Node.objects.filter(pk=node.pk).update(agent_seen_at=timezone.now(), agent_info=info)
