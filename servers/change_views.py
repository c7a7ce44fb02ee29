"""Pages about where a server's files come from: what it changed itself, and which layer supplies each."""

from collections.abc import Sequence
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs.pages import done, member, refused
from servers import access, services
from servers.errors import ServerError
from servers.models import FileChange, FileLook, FileRevert, Right, Server
from servers.provenance import below
from servers.runtime.base import EVERYTHING
from servers.services.file_changes import KINDS_OF_ALL, LOOK
from servers.views import head_context, server_page

Kind = FileChange.Kind
PER_PAGE = 100
LONGEST = 1000
# By the word in the address: the tab's label, and the kinds it shows.
TABS: dict[str, tuple[str, tuple[Kind, ...]]] = {
    "changed": ("Changed and deleted", (Kind.CHANGED, Kind.DELETED, Kind.RENEWED)),
    "added": ("Added", (Kind.ADDED,)),
    "same": ("The same as below", (Kind.SAME,)),
}


@require_safe
@server_page(Right.FILES)
def changes(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/changes.html", changes_context(request, server))


@require_safe
@server_page(Right.FILES)
def changes_part(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/_changes.html", changes_context(request, server))


def changes_context(request: HttpRequest, server: Server) -> dict[str, Any]:
    """One tab of what the last look found."""
    counts = dict(server.file_changes.order_by().values_list("kind").annotate(Count("pk")))
    chosen = request.GET.get("kind", "")
    chosen = chosen if chosen in TABS else "changed"
    listed = _with_waiting(server).filter(kind__in=TABS[chosen][1]).defer("diff").order_by("path")
    paginator = Paginator(listed, PER_PAGE)
    paginator.count = sum(counts.get(kind, 0) for kind in TABS[chosen][1])
    waiting = Count("server__file_reverts")
    all_wait = Exists(server.file_reverts.filter(path=EVERYTHING))
    look = FileLook.objects.filter(server=server).annotate(waiting=waiting, all_wait=all_wait).first()
    context = head_context(request, server)
    job = context["shown"].job
    return context | {
        "tab": "layers",
        "page": paginator.get_page(request.GET.get("page")),
        "kind": chosen,
        "kinds": [(key, label, sum(counts.get(kind, 0) for kind in kinds)) for key, (label, kinds) in TABS.items()],
        "look": look,
        "is_old": look and look.over != below.fingerprint(below.sources(server, mounted=server.is_live)),
        "is_looking": job is not None and job.kind == LOOK,
        "revertable": sum(counts.get(kind, 0) for kind in KINDS_OF_ALL),
        "has_own": bool(counts) or server.disk_bytes > 0,
        "all_wait": look.all_wait if look else _all_wait(server),
    }


@require_safe
@server_page(Right.FILES)
def change(request: HttpRequest, server: Server) -> HttpResponse:
    """One file, `?path=`, with its diff."""
    path = request.GET.get("path", "")
    found = get_object_or_404(_with_waiting(server), path=path if path.isprintable() else "")
    found = below.for_reader(found, access.rights(member(request), server))
    context = {
        "tab": "layers",
        "change": found,
        "all_wait": _all_wait(server),
        "lines": found.diff.split("\n") if found.diff else [],
    }
    return render(request, "servers/change.html", head_context(request, server) | context)


@require_POST
@server_page(Right.FILES)
def look(request: HttpRequest, server: Server) -> HttpResponse:
    try:
        services.look_at_files(by=member(request), server=server)
    except ServerError as error:
        return refused(request, str(error), to=_back(server))
    return done(request, "Looking. What is found shows here.", to=_back(server), topics=[server.topic])


@require_POST
@server_page(Right.FILES)
def revert(request: HttpRequest, server: Server) -> HttpResponse:
    """What `path` names, with `everything` all that the server wrote, or else all that covers something."""
    try:
        if "everything" in request.POST:
            job = services.revert_everything(by=member(request), server=server)
        else:
            job = services.revert_files(by=member(request), server=server, paths=_paths(request))
    except ServerError as error:
        return refused(request, str(error), to=_back(server), topics=[server.topic])
    text = "Reverting." if job else "It is reverted at the next start."
    return done(request, text, to=_back(server), topics=[server.topic])


@require_POST
@server_page(Right.FILES)
def keep(request: HttpRequest, server: Server) -> HttpResponse:
    try:
        services.keep_files(by=member(request), server=server, paths=_paths(request))
    except ServerError as error:
        return refused(request, str(error), to=_back(server))
    return done(request, "It stays as it is.", to=_back(server), topics=[server.topic])


def _with_waiting(server: Server) -> QuerySet[FileChange]:
    """Its changes, and whether each is to be reverted (`waits`)."""
    waiting = FileRevert.objects.filter(server=server, path=OuterRef("path"))
    return server.file_changes.annotate(waits=Exists(waiting))


def _all_wait(server: Server) -> bool:
    """Whether all that it wrote is to be reverted."""
    return server.file_reverts.filter(path=EVERYTHING).exists()


def _paths(request: HttpRequest) -> Sequence[str] | None:
    """The path that was posted, or `None` for all. Raises `Http404` for one that cannot be."""
    path = request.POST.get("path")
    if path is not None and not path.isprintable():
        raise Http404("There is no such file.")
    return None if path is None else [path]


@require_safe
@server_page(Right.FILES)
def files(request: HttpRequest, server: Server) -> HttpResponse:
    """Which layer supplies each file of the tree: searched, narrowed, and read on by the last path."""
    lower = below.sources(server, mounted=server.is_live)
    asked = {key: request.GET.get(key, "")[:LONGEST] for key in ("text", "under", "after", "from")}
    places = {str(place): place for place in range(len(lower) + 1)}
    wanted = below.Asked(
        text=asked["text"].strip(), under=asked["under"] if asked["under"].endswith("/") else "", after=asked["after"],
        place=places.get(asked["from"]), contested="contested" in request.GET, limit=PER_PAGE + 1,
    )  # fmt: skip
    found = below.tree(server, lower, wanted)
    context = {
        "tab": "layers",
        "found": found[:PER_PAGE],
        "after": found[PER_PAGE - 1].path if len(found) > PER_PAGE else "",
        "asked": wanted,
        "sources": [(0, below.OWN), *((number, one.name) for number, one in enumerate(lower, start=1))],
        "unlisted": [one.name for one in lower if one.installation and one.installation.file_count is None],
        "is_installed": any(one.installation for one in lower),
        "look": FileLook.objects.filter(server=server).first(),
    }
    return render(request, "servers/files.html", head_context(request, server) | context)


def _back(server: Server) -> str:
    return reverse("servers:changes", args=[server.name])
