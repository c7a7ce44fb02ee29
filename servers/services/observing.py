"""What was seen of a node and its servers: written by the agent alone."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs import events
from servers.models import Node, Server


def record_unit(*, server: Server, unit: str, detail: str, at: datetime | None) -> None:
    """The state the runtime reports. What the game answered before the change no longer holds."""
    values: dict[str, Any] = {"unit": unit, "unit_detail": detail, "unit_at": at or timezone.now()}
    if unit != server.unit:
        values |= {"query": {}, "query_at": None}
    if Server.objects.filter(pk=server.pk).update(**values):
        events.publish(server.topic)


def record_query(*, server: Server, query: dict[str, Any], publish: bool) -> None:
    """The game's last answer, unless the server stopped meanwhile."""
    running = Server.objects.filter(pk=server.pk, unit=Server.Unit.RUNNING)
    if running.update(query=query, query_at=timezone.now()) and publish:
        events.publish(server.topic)


def beat(*, node: Node, info: dict[str, Any]) -> None:
    """The node's agent is alive."""
    Node.objects.filter(pk=node.pk).update(agent_seen_at=timezone.now(), agent_info=info)
