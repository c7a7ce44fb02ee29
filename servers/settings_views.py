"""The parts of a server's settings page beside the form: what holds where, config files, following its blueprint."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs.pages import done, member, refused
from servers import access, games, services, truth
from servers.errors import ServerError
from servers.models import Right, Server
from servers.views import head_context, server_page


def settings_topic(server: Server) -> str:
    """Told to the page that acted; what others change shows at the server's own topic."""
    return f"settings:{server.pk}"


def sees_files(request: HttpRequest, server: Server) -> bool:
    """Settings are one right, what was written by hand is another."""
    return Right.FILES in access.rights(member(request), server)


def truth_context(request: HttpRequest, server: Server, game: "games.Game") -> dict[str, Any]:
    """What the table of settings and the panel about the blueprint show."""
    rows = truth.rows(server, game, sees_files=sees_files(request, server))
    return {
        "rows": rows,
        "changes": sum(row.changes for row in rows),
        "asks": any(setting.cvar for setting in game.settings),
        "settings_topic": settings_topic(server),
    }


@require_safe
@server_page(Right.SETTINGS)
def truth_part(request: HttpRequest, server: Server) -> HttpResponse:
    game = games.all_games().get(server.game)
    context = head_context(request, server) | (truth_context(request, server, game) if game else {})
    return render(request, "servers/_truth.html", context)


@require_POST
@server_page(Right.SETTINGS)
def ask(request: HttpRequest, server: Server) -> HttpResponse:
    """Ask the running game what it makes of its settings."""
    try:
        found = truth.compare(server, games.get(server.game), services.ask_settings(by=member(request), server=server))
    except (ServerError, games.UnknownGame) as error:
        return refused(request, str(error), to=reverse("servers:settings", args=[server.name]))
    return render(request, "servers/_asked.html", {"found": found, "server": server})


@require_safe
@server_page(Right.SETTINGS)
def config_files(request: HttpRequest, server: Server) -> HttpResponse:
    """The config files as the next start writes them; without the lines by hand for who may not see the files."""
    context = head_context(request, server) | {"tab": "settings"}
    by_hand = server.own_files.all() if sees_files(request, server) else ()
    try:
        context["files"] = truth.config_files(server, games.get(server.game), by_hand)
    except (games.UnknownGame, games.SettingsError, games.RenderError) as error:
        context["problem"] = str(error)
    return render(request, "servers/config_files.html", context)


@require_POST
@server_page(Right.SETTINGS)
def follow(request: HttpRequest, server: Server) -> HttpResponse:
    """Begin or end to follow the blueprint."""
    to, begin = reverse("servers:settings", args=[server.name]), "follow" in request.POST
    try:
        services.set_following(by=member(request), server=server, follow=begin)
    except (ServerError, games.UnknownGame) as error:
        return refused(request, str(error), to=to)
    text = "follows its blueprint now." if begin else "keeps its settings as they are now."
    return done(request, f"{server.name} {text}", to=to, topics=[settings_topic(server)])
