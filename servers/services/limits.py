"""Limits of servers and blueprints, which moderators set. They hold from a server's next start."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.db import transaction

from servers import access
from servers.limit_models import Limited
from servers.limits import BOUNDS
from servers.models import AuditEvent, Blueprint, Server
from servers.services.common import locked, record

if TYPE_CHECKING:
    from portal.models import User


def set_limits(*, by: "User", server: Server, limits: Mapping[str, int | None]) -> None:
    """Change those given, each within `BOUNDS`; None takes one away from the server. Raises `ServerGone`, and as
    `access.require_limits` does."""
    access.require_limits(by)
    with locked(server) as fresh:
        before = _of(fresh)
        for name in BOUNDS.keys() & limits.keys():
            setattr(fresh, name, limits[name])
        if before != _of(fresh):
            fresh.save(update_fields=[*BOUNDS])
            record(by, fresh, "limits", before=before, after=_of(fresh))


def save_blueprint(*, by: "User", blueprint: Blueprint) -> None:
    """Store what a moderator wrote; its limits, which reach every server made from it, are noted when they change."""
    with transaction.atomic():
        stored = Blueprint.objects.select_for_update().filter(pk=blueprint.pk).first()
        before = _of(stored or Blueprint())
        blueprint.save()
        if before != _of(blueprint):
            detail = {"name": blueprint.slug, "before": before, "after": _of(blueprint)}
            AuditEvent.objects.create(actor=by, action="blueprint limits", detail=detail)


def keep_limits(blueprint: Blueprint) -> None:
    """Before it is deleted: its servers keep its limits where they have none of their own."""
    for name, value in _of(blueprint).items():
        if value is not None:
            Server.objects.filter(blueprint=blueprint, **{name: None}).update(**{name: value})


def _of(row: Limited) -> dict[str, int | None]:
    return {name: getattr(row, name) for name in BOUNDS}
