"""Views of the live panel: who plays, asked of the game itself, and what can be done about it while it runs."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs.pages import done, member, refused
from servers import games, services
from servers.actions import url_of
from servers.errors import PressedTwice, ServerError
from servers.forms import LaterForm, LevelForm, MessageForm, PlayerForm
from servers.models import Pending, Right, Server
from servers.protocols.status import shown_name
from servers.services.waiting import WORDS
from servers.views import head_context, server_page

SENT = "The message was sent."
REFUSALS = (ServerError, games.UnknownGame)


def players_url(server: Server) -> str:
    return reverse("servers:players", args=[server.name])


def players_topic(server: Server) -> str:
    """Told to the page that acted, so that it asks the game again; nobody publishes it, for the game is asked."""
    return f"players:{server.pk}"


@require_safe
@server_page(Right.RCON)
def players(request: HttpRequest, server: Server) -> HttpResponse:
    """Everybody on the server, by the number that kick and ban take. The page is there at once and asks for the list
    by itself; without scripts `?ask` waits for it."""
    context = players_context(request, server) if "ask" in request.GET else unasked_context(request, server)
    return render(request, "servers/players.html", context | {"tab": "players"})


@require_safe
@server_page(Right.RCON)
def players_part(request: HttpRequest, server: Server) -> HttpResponse:
    """The list alone. Once the server has stopped nothing of the page holds: it is told to load again."""
    if not _is_running(server):
        return HttpResponse(status=204, headers={"HX-Trigger": "outdated"})
    return render(request, "servers/_players.html", players_context(request, server))


def unasked_context(request: HttpRequest, server: Server) -> dict[str, Any]:
    """What the page shows before the game has answered."""
    context = head_context(request, server)
    if not _is_running(server):
        return context
    context |= {"is_running": True, "is_unasked": True, "players_topic": players_topic(server)}
    try:
        return context | {"levels": services.levels(server=server)}
    except REFUSALS as error:
        return context | {"problem": str(error)}


def players_context(request: HttpRequest, server: Server) -> dict[str, Any]:
    """The same with the game's answer, for which this waits."""
    context = unasked_context(request, server) | {"is_unasked": False}
    if "levels" not in context:
        return context
    by = member(request)
    try:
        context["mode"] = services.ask_mode(by=by, server=server)
        return context | {"roll": services.call_roll(by=by, server=server)}
    except REFUSALS as error:
        return context | {"problem": str(error)}


def _is_running(server: Server) -> bool:
    return server.unit == Server.Unit.RUNNING and not server.deleted_at


def _acted(
    request: HttpRequest, server: Server, act: Callable[[], str | None], said: str | Callable[[str | None], str]
) -> HttpResponse:
    """Do it to the running game, and say that it was done or why not; the list of players is asked for again."""
    to, topics = players_url(server), [players_topic(server)]
    try:
        result = act()
    except PressedTwice as error:
        text = said if isinstance(said, str) else str(error)
        return refused(request, text, to=to, topics=topics, kind="info")
    except REFUSALS as error:
        return refused(request, str(error), to=to, topics=topics)
    return done(request, said if isinstance(said, str) else said(result), to=to, topics=topics)


@require_POST
@server_page(Right.RCON)
def kick(request: HttpRequest, server: Server, player: int) -> HttpResponse:
    """Throw somebody out."""
    form = PlayerForm(request.POST)
    name = form.cleaned_data["player_name"] if form.is_valid() else ""
    throw_out = partial(services.kick_player, by=member(request), server=server, player=player, name=name)
    return _acted(request, server, throw_out, f"{shown_name(name)} was kicked.")


@require_http_methods(["GET", "POST"])
@server_page(Right.RCON)
def ban(request: HttpRequest, server: Server, player: int) -> HttpResponse:
    """Keep somebody out for good, after asking."""
    given = request.POST if request.method == "POST" else request.GET
    form = PlayerForm(given)
    if "player_name" not in given or not form.is_valid():
        return refused(request, "Nobody was banned: pick a player of the list.", to=players_url(server))
    name = form.cleaned_data["player_name"]
    if request.method == "GET":
        context = {"server": server, "player": player, "player_name": name, "shown_name": shown_name(name)}
        return render(request, "servers/ban.html", context)
    keep_out = partial(services.ban_player, by=member(request), server=server, player=player, name=name)
    return _acted(request, server, keep_out, f"{shown_name(name)} is banned.")


@require_POST
@server_page(Right.RCON)
def say(request: HttpRequest, server: Server) -> HttpResponse:
    """A message to everybody who plays."""
    form = MessageForm(request.POST)
    text = form.cleaned_data["text"] if form.is_valid() else ""
    send = partial(services.say, by=member(request), server=server, text=text)

    def said(sent: str | None) -> str:
        changed = sent is not None and sent != text.strip()
        return f"The message was sent as “{sent}”: the game’s console does not take the rest." if changed else SENT

    return _acted(request, server, send, said)


@require_POST
@server_page(Right.RCON)
def change_level(request: HttpRequest, server: Server) -> HttpResponse:
    """Another map, at once."""
    form = LevelForm(request.POST)
    level = form.cleaned_data["level"] if form.is_valid() else ""
    change = partial(services.change_level, by=member(request), server=server, level=level)
    return _acted(request, server, change, f"The map changes to {level}.")


@require_POST
@server_page(Right.POWER)
def later(request: HttpRequest, server: Server) -> HttpResponse:
    """Stop or restart once nobody plays, or after a countdown."""
    form = LaterForm(request.POST, game=games.all_games().get(server.game))
    if not form.is_valid():
        return refused(request, "Choose what to do and when.", to=url_of(server))
    verb, seconds = Pending.Verb(form.cleaned_data["verb"]), form.cleaned_data["when"]
    try:
        if seconds:
            after = timedelta(seconds=seconds)
            services.count_down(by=member(request), server=server, verb=verb, after=after, replace=False)
        else:
            services.wait_until_empty(by=member(request), server=server, verb=verb, replace=False)
    except ServerError as error:
        return refused(request, str(error), to=url_of(server), topics=[server.topic])
    when = "after the countdown" if seconds else "once nobody plays"
    return done(request, f"{server.name} {WORDS[verb]} {when}.", to=url_of(server), topics=[server.topic])


@require_POST
@server_page(Right.POWER)
def cancel_later(request: HttpRequest, server: Server) -> HttpResponse:
    """Call off what waits."""
    try:
        cancelled = services.cancel_waiting(by=member(request), server=server)
    except ServerError as error:
        return refused(request, str(error), to=url_of(server))
    if not cancelled:
        return refused(request, "It was done or called off already.", to=url_of(server), topics=[server.topic])
    return done(request, f"{server.name} goes on.", to=url_of(server), topics=[server.topic])
