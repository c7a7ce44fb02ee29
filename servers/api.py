"""Servers, games and blueprints in the HTTP API: `servers.access` says who may, `servers.services` does it."""

import re
from typing import Annotated, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest
from ninja import Path, Router, Status

from jobs.api import JobOut, JobRef
from jobs.api_pages import Cursor, FieldError, Limit, Page, page
from jobs.models import Job
from jobs.pages import member
from servers import access, games, services
from servers.api_schemas import (
    BlueprintOut,
    CloneIn,
    CommandIn,
    CommandOut,
    GameOut,
    InstallationOut,
    MemberIn,
    MemberOut,
    NewServer,
    ServerChange,
    ServerOut,
)
from servers.models import NAME_PATTERN, Blueprint, Installation, Membership, Right, Server, ServerQuerySet
from servers.shown import for_display

router = Router()

Name = Annotated[str, Path(max_length=200, description="The server's name.")]
ACCEPTED = {202: JobRef}


def shown(request: HttpRequest) -> ServerQuerySet:
    """Servers with all that their JSON needs, in a fixed number of queries."""
    return for_display(Server.objects.present(), member(request)).select_related("blueprint")


def offered() -> QuerySet[Blueprint]:
    """Blueprints of games that are defined here."""
    return Blueprint.objects.filter(is_offered=True, game__in=games.all_games())


def server_for(request: HttpRequest, name: str, right: Right = Right.VIEW) -> Server:
    """The server of that name; 404 unless the user may view it, 403 without the right."""
    server = shown(request).filter(name=name).first() if re.match(NAME_PATTERN, name) else None
    if server is None:
        raise Http404("There is no such server.")
    access.require(member(request), server, right)
    return server


def user_named(name: str) -> Any:
    """The user of that name, in whatever case; 404 when there is none."""
    found = get_user_model().objects.filter(username__iexact=name).first() if name.isprintable() else None
    if found is None:
        raise Http404("Nobody here has that name.")
    return found


@router.get("/games", response=Page[GameOut], tags=["games"], summary="List games")
def list_games(request: HttpRequest, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """Games that have a definition here, by slug."""
    after = sorted((game for slug, game in games.all_games().items() if slug > cursor), key=lambda game: game.slug)
    return {"items": after[:limit], "next": after[limit - 1].slug if len(after) > limit else None}


@router.get("/blueprints", response=Page[BlueprintOut], tags=["games"], summary="List blueprints")
def list_blueprints(request: HttpRequest, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """What servers can be created from, by slug."""
    return page(offered(), by="slug", cursor=cursor, limit=limit)


@router.get("/installations", response=Page[InstallationOut], tags=["games"], summary="List installations")
def list_installations(request: HttpRequest, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """Versions of games on the machines, newest first; for moderators."""
    if not member(request).is_staff:
        raise PermissionDenied("Installations are for moderators. Ask one of them.")
    standing = Prefetch("servers", Server.objects.present())
    versions = Installation.objects.select_related("node").prefetch_related(standing)
    return page(versions, by="-pk", cursor=cursor, limit=limit)


@router.get("/servers", response=Page[ServerOut], tags=["servers"], summary="List servers")
def list_servers(request: HttpRequest, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """The servers you may view, by name."""
    return page(shown(request).visible_to(member(request)), by="name", cursor=cursor, limit=limit)


@router.post("/servers", response={201: ServerOut}, tags=["servers"], summary="Create a server")
def create_server(request: HttpRequest, new: NewServer) -> Status[Server]:
    """A stopped server of yours; the portal picks its ports."""
    blueprint = offered().filter(slug=new.blueprint).first()
    if blueprint is None:
        raise FieldError("blueprint", "There is no such blueprint. `GET /blueprints` lists them.")
    made = services.create_server(
        by=member(request), name=new.name, blueprint=blueprint, settings=new.settings, follow=new.follow
    )
    return Status(201, server_for(request, made.name))


@router.get("/servers/{name}", response=ServerOut, tags=["servers"], summary="Read a server")
def read_server(request: HttpRequest, name: Name) -> Server:
    """A server you may view."""
    return server_for(request, name)


@router.patch("/servers/{name}", response=ServerOut, tags=["servers"], summary="Change a server's settings")
def change_server(request: HttpRequest, name: Name, change: ServerChange) -> Server:
    """They hold from the next start. Limits are for moderators."""
    server = server_for(request, name, Right.SETTINGS)
    if change.limits:
        access.require_limits(member(request))
    services.change_settings(by=member(request), server=server, changes=change.settings)
    if change.limits:
        limits = change.limits.model_dump(exclude_unset=True)
        services.set_limits(by=member(request), server=server, limits=limits)
    return server_for(request, name)


@router.delete("/servers/{name}", response=ACCEPTED, tags=["servers"], summary="Delete a server")
def delete_server(request: HttpRequest, name: Name) -> Status[dict[str, int]]:
    """It is gone at once; a moderator can restore it for a week."""
    return Status(202, {"job": services.delete_server(by=member(request), server=server_for(request, name)).pk})


@router.post("/servers/{name}/start", response=ACCEPTED, tags=["servers"], summary="Start a server")
def start_server(request: HttpRequest, name: Name) -> Status[dict[str, int]]:
    """Its game is installed first where that is needed. Harmless when it runs."""
    server = server_for(request, name, Right.POWER)
    return Status(202, {"job": services.start_server(by=member(request), server=server).pk})


@router.post("/servers/{name}/stop", response=ACCEPTED, tags=["servers"], summary="Stop a server")
def stop_server(request: HttpRequest, name: Name) -> Status[dict[str, int]]:
    """Also while it is starting. Harmless when it is stopped."""
    server = server_for(request, name, Right.POWER)
    return Status(202, {"job": services.stop_server(by=member(request), server=server).pk})


@router.post("/servers/{name}/restart", response=ACCEPTED, tags=["servers"], summary="Restart a server")
def restart_server(request: HttpRequest, name: Name) -> Status[dict[str, int]]:
    """With its present settings and the newest installation of its game."""
    server = server_for(request, name, Right.POWER)
    return Status(202, {"job": services.restart_server(by=member(request), server=server).pk})


@router.post("/servers/{name}/clone", response=ACCEPTED, tags=["servers"], summary="Copy a server")
def clone_server(request: HttpRequest, name: Name, clone: CloneIn) -> Status[dict[str, int]]:
    """A server of yours with the same settings and files. It needs the rights to its settings and its files."""
    _, job = services.clone_server(by=member(request), server=server_for(request, name), name=clone.name)
    return Status(202, {"job": job.pk})


@router.post("/servers/{name}/command", response=CommandOut, tags=["servers"], summary="Send a console command")
def send_command(request: HttpRequest, name: Name, line: CommandIn) -> dict[str, str]:
    """Waits up to five seconds for the answer, which also appears on the console. Needs the right `rcon`; `console`
    is enough for commands that the game's definition calls safe, such as `status`."""
    server = server_for(request, name)
    access.require_command(member(request), server, line.command)
    return {"answer": services.send_command(by=member(request), server=server, text=line.command)}


@router.get("/servers/{name}/jobs", response=Page[JobOut], tags=["servers"], summary="List a server's jobs")
def list_jobs(request: HttpRequest, name: Name, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """Newest first."""
    jobs = Job.objects.about(server_for(request, name).topic)
    return page(jobs, by="-pk", cursor=cursor, limit=limit)


@router.get("/servers/{name}/members", response=Page[MemberOut], tags=["members"], summary="List members")
def list_members(request: HttpRequest, name: Name, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """Who has rights on the server besides its owner; for those who may manage members."""
    members = Membership.objects.filter(server=server_for(request, name, Right.MEMBERS)).select_related("user")
    return page(members, by="user__username", cursor=cursor, limit=limit)


@router.post("/servers/{name}/members", response=MemberOut, tags=["members"], summary="Give rights")
def share_server(request: HttpRequest, name: Name, given: MemberIn) -> Membership:
    """Sets exactly these rights; nobody gives or takes a right they lack."""
    server = server_for(request, name, Right.MEMBERS)
    return services.share_server(
        by=member(request), server=server, user=user_named(given.username), rights=given.rights, was=given.was
    )


@router.delete("/servers/{name}/members/{username}", response={204: None}, tags=["members"], summary="Take all rights")
def unshare_server(request: HttpRequest, name: Name, username: Name) -> Status[None]:
    """Anybody may leave a server by themselves; taking another's rights needs the right to manage members."""
    server, by = server_for(request, name), member(request)
    if username.lower() != by.username.lower():  # before anything tells whether there is such a member
        access.require(by, server, Right.MEMBERS)
    services.unshare_server(by=by, server=server, user=user_named(username))
    return Status(204, None)
