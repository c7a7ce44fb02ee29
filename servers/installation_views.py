"""The pages about installations, for staff: versions of each game on each node, and what can be done with them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs.models import Job
from jobs.pages import View, done, member, members_only, refused
from servers import games, services
from servers.errors import ServerError
from servers.models import Installation, Node
from servers.services.versions import topic
from servers.shown_versions import show_games


def staff_only(view: View) -> View:
    """403 for members: what is installed is shown to them on their servers' pages."""

    @members_only
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not member(request).is_staff:
            raise PermissionDenied("Installations are for moderators. Ask one of them.")
        return view(request, *args, **kwargs)

    return inner


@staff_only
@require_safe
def installations(request: HttpRequest) -> HttpResponse:
    nodes = list(Node.objects.order_by("name"))
    return render(request, "servers/installations.html", {"games": show_games(nodes), "nodes": nodes})


@staff_only
@require_safe
def part(request: HttpRequest, node: str, game: str) -> HttpResponse:
    shown = show_games([get_object_or_404(Node, slug=node)], [game])
    if not shown:
        raise Http404("There is no such game.")
    return render(request, "servers/_installation.html", {"shown": shown[0]})


def _ask(request: HttpRequest, node: Node, game: str, act: Callable[[], str]) -> HttpResponse:
    """Do it and say what it said, or why it was refused."""
    to, topics = reverse("servers:installations"), [topic(node, game)]
    try:
        return done(request, act(), to=to, topics=topics)
    except (ServerError, games.UnknownGame) as error:
        return refused(request, str(error), to=to, topics=topics)


@require_POST
@staff_only
def install(request: HttpRequest, node: str, game: str) -> HttpResponse:
    """Install the game, or build its newest version beside those that are there."""
    on = get_object_or_404(Node, slug=node)

    def act() -> str:
        update = Installation.objects.filter(node=on, game=game, is_current=True).exists()
        job = services.install_game(by=member(request), node=on, game=game, update=update)
        return f"“{job.title}” is asked for."

    return _ask(request, on, game, act)


@require_POST
@staff_only
def clean_up(request: HttpRequest, node: str, game: str) -> HttpResponse:
    """Delete the versions that nobody uses."""
    return _ask_job(request, node, game, services.clean_up_game)


@require_POST
@staff_only
def check(request: HttpRequest, node: str, game: str) -> HttpResponse:
    """Look for a newer version."""
    return _ask_job(request, node, game, services.request_check)


def _ask_job(request: HttpRequest, node: str, game: str, service: Callable[..., Job]) -> HttpResponse:
    on = get_object_or_404(Node, slug=node)
    return _ask(request, on, game, lambda: f"“{service(by=member(request), node=on, game=game)}” is asked for.")


@require_POST
@staff_only
def auto_update(request: HttpRequest, node: str, game: str) -> HttpResponse:
    """Switch on or off that newer versions are installed as soon as they are found."""
    on = get_object_or_404(Node, slug=node)
    wanted = request.POST.get("on") == "1"

    def act() -> str:
        services.set_auto_update(node=on, game=game, on=wanted)
        return f"Newer versions are {'' if wanted else 'not '}installed by themselves."

    return _ask(request, on, game, act)


@require_POST
@staff_only
def promote(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a version the current one: a newer one, or an older one to go back to."""
    version = get_object_or_404(Installation.objects.select_related("node"), pk=pk)

    def act() -> str:
        services.promote_version(by=member(request), installation=version)
        return f"{version} is used from each server's next start."

    return _ask(request, version.node, version.game, act)
