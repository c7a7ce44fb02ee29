"""Following a blueprint: what it says goes under the server's own settings at every start, until the server stops
following; then the settings are copied and stay as they are."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db import transaction

from servers import games
from servers.errors import NotNow
from servers.models import Blueprint, Server
from servers.services.common import locked, record
from servers.services.limits import keep_limits

if TYPE_CHECKING:
    from portal.models import User


def own_choices(game: "games.Game", blueprint: Blueprint, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of `values` those that the blueprint, or else the game's default, does not give by itself."""
    base = game.default_settings() | blueprint.settings
    return {key: value for key, value in values.items() if base.get(key) != value}


def _begin(game: "games.Game", blueprint: Blueprint, server: Server) -> dict[str, Any]:
    """What keeps every setting as it is when the server begins to follow: also defaults that the blueprint changes."""
    return own_choices(game, blueprint, game.default_settings() | server.settings)


def set_following(*, by: "User", server: Server, follow: bool) -> None:
    """Begin or end it. No setting changes by that. Raises `NotNow` without a blueprint, `ServerGone`, `UnknownGame`."""
    with locked(server) as fresh:
        blueprint = fresh.blueprint
        if blueprint is None or (follow and blueprint.game != fresh.game):
            raise NotNow("The blueprint it was made from is gone, so there is nothing to follow.")
        if follow != fresh.follows_blueprint:
            game = games.get(fresh.game)
            fresh.settings = _begin(game, blueprint, fresh) if follow else fresh.chosen
            fresh.follows_blueprint = follow
            fresh.save(update_fields=["settings", "follows_blueprint"])
            record(by, fresh, "follow" if follow else "stop following", blueprint=blueprint.slug)


def delete_blueprint(*, by: "User", blueprint: Blueprint) -> None:
    """Delete it; servers that followed it keep the settings they have, and all made from it their limits."""
    with transaction.atomic():
        keep_limits(Blueprint.objects.select_for_update().get(pk=blueprint.pk))
        for server in Server.objects.select_for_update().filter(blueprint=blueprint, follows_blueprint=True):
            Server.objects.filter(pk=server.pk).update(settings=server.chosen, follows_blueprint=False)
            record(by, server, "stop following", blueprint=blueprint.slug)
        blueprint.delete()
