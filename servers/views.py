"""Pages that show servers, and their parts that refresh by themselves; `servers/actions.py` has what changes them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.models import Job
from jobs.pages import View, member, members_only, page_of
from servers import access
from servers.activity import RANGES, Range, series, spans
from servers.models import Right, Server
from servers.services.power import RESTART
from servers.shown import Shown, for_display, show, show_all

if TYPE_CHECKING:
    from portal.models import User

PER_PAGE = 60
RECENT_JOBS = 6
HISTORY_PER_PAGE = 30


def server_page(right: Right = Right.VIEW) -> Callable[[View], View]:
    """Give a view the server its URL names: 404 for who may not view it, 403 for who lacks `right`."""

    def find(user: "User", name: str) -> Server:
        server = for_display(Server.objects.present(), user).filter(name=name).first()
        if server is None:
            raise Http404("There is no such server.")
        access.require(user, server, right)
        return server

    return page_of(find, key="name")


@members_only
@require_safe
def server_list(request: HttpRequest) -> HttpResponse:
    return render(request, "servers/list.html", list_context(request))


@members_only
@require_safe
def list_part(request: HttpRequest) -> HttpResponse:
    return render(request, "servers/_list.html", list_context(request))


def list_context(request: HttpRequest) -> dict[str, Any]:
    """One page of the servers the user sees. Staff see their own first and everybody's when they ask."""
    user = member(request)
    everyone = user.is_staff and "all" in request.GET
    servers = Server.objects.visible_to(user) if everyone else Server.objects.of(user)
    page = Paginator(for_display(servers, user), PER_PAGE).get_page(request.GET.get("page"))
    return {"page": page, "servers": show_all(page.object_list, user), "everyone": everyone}


@require_safe
@server_page()
def card_part(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/_card.html", {"shown": show(server, member(request))})


@require_safe
@server_page()
def overview(request: HttpRequest, server: Server) -> HttpResponse:
    context = head_context(request, server) | side_context(server)
    return render(request, "servers/overview.html", context | {"tab": "overview"})


def head_context(request: HttpRequest, server: Server) -> dict[str, Any]:
    shown = show(server, member(request))
    return {"server": server, "shown": shown, "failed": _failed_last(shown)}


def side_context(server: Server) -> dict[str, Any]:
    return {"jobs": Job.objects.about(server.topic).select_related("requested_by")[:RECENT_JOBS]}


def _failed_last(shown: Shown) -> Job | None:
    """The last job, if it did not succeed and nothing has happened since."""
    if shown.job:
        return None
    last = Job.objects.about(shown.server.topic).first()
    if not last or (shown.server.is_live and last.kind != RESTART):  # refused, it runs on as before
        return None
    return last if last.state in (Job.State.FAILED, Job.State.LOST) else None


@require_safe
@server_page()
def part(request: HttpRequest, server: Server, part: str) -> HttpResponse:
    """A part of the server's pages, fetched again when its topic changes."""
    context = head_context(request, server)
    if part == "side":
        context |= side_context(server)
    return render(request, f"servers/_{part}.html", context)


@require_safe
@server_page()
def history(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/history.html", history_context(request, server) | {"tab": "history"})


@require_safe
@server_page()
def history_part(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/_history.html", history_context(request, server))


@require_safe
@server_page()
def activity(request: HttpRequest, server: Server) -> HttpResponse:
    """Players, map and load over time; the chart fetches `activity_data`."""
    key, chosen = _range(request)
    rows = spans(server, chosen, chosen.row)[::-1]
    context = {"tab": "activity", "ranges": RANGES, "range": key, "chosen": chosen, "rows": rows}
    return render(request, "servers/activity.html", head_context(request, server) | context)


@require_safe
@server_page()
def activity_data(request: HttpRequest, server: Server) -> HttpResponse:
    return JsonResponse(series(server, _range(request)[1]))


def _range(request: HttpRequest) -> tuple[str, Range]:
    key = request.GET.get("range", "")
    return (key, RANGES[key]) if key in RANGES else next(iter(RANGES.items()))


def history_context(request: HttpRequest, server: Server) -> dict[str, Any]:
    jobs = Job.objects.about(server.topic).select_related("requested_by")
    page = Paginator(jobs, HISTORY_PER_PAGE).get_page(request.GET.get("page"))
    return head_context(request, server) | {"page": page}
