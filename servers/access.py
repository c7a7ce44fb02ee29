"""Who may do what: the one policy that views, the API, sockets, admin and files all ask.

What each right covers (`servers.models.Right`):

- view: that there is the server, its state, players' number, activity, and what its jobs say.
- power: start, stop, restart, now or later; cancel and retry its jobs.
- console: read the console, and the commands that the game's definition calls safe. rcon: any command, and the players.
- settings: the settings wherever they are kept (its own, the blueprint's, the running game's), with passwords, and
  the files made of them; not what somebody wrote by hand.
- files: what was written by hand, the layers, and what the server changed in its files; not what the settings make.
  Lines by hand go over the settings, so who may change files decides what the game has in the end.
- members: who else has which right; give and take those that one has oneself.

What shows both sides, such as a diff against a file that the settings make, needs both rights.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import reverse

from jobs.models import Job
from servers import games
from servers.errors import OwnerSuspended
from servers.models import Layer, Membership, Node, Right, Server

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from portal.models import User

EVERYTHING = frozenset(Right)
# What it takes to ask for a job on a server, and to have it run; other kinds take the right to start and stop.
RIGHT_FOR = {"servers.look_at_files": Right.FILES, "servers.revert_files": Right.FILES}
STARTS = ("servers.start", "servers.restart")
STOP = "servers.stop"
FOR_OWNERS = ("servers.delete", "servers.clone")
FOR_STAFF = ("servers.restore", "servers.purge", "servers.forget")
# Not asked about again when it runs: these took effect when they were asked for, and a copy asks itself.
SETTLED = ("servers.delete", "servers.restore", "servers.clone")
NOTHING: frozenset[Right] = frozenset()


def may_enter(user: "User | AnonymousUser") -> bool:
    """Whether the user is signed in and neither suspended nor switched off."""
    return bool(user.is_authenticated and user.may_enter)


def rights(user: "User | AnonymousUser", server: Server) -> frozenset[Right]:
    """What `user` may do with `server`: the owner and staff everything, others what they were given.

    A deleted server is there for staff alone. At most one query, none when memberships were prefetched.
    """
    if (known := _without_membership(user, server)) is not None:
        return known
    if "memberships" in getattr(server, "_prefetched_objects_cache", {}):
        given = next((m.rights for m in server.memberships.all() if m.user_id == user.pk), [])
    else:
        given = Membership.objects.filter(user=user.pk, server=server).values_list("rights", flat=True).first() or []
    return frozenset(Right(right) for right in given)


def _without_membership(user: "User | AnonymousUser", server: Server) -> frozenset[Right] | None:
    """The rights that need no look at memberships; None when that look is needed."""
    if not may_enter(user):
        return NOTHING
    if user.is_staff:
        return EVERYTHING
    if server.deleted_at:
        return NOTHING
    return EVERYTHING if server.owner_id == user.pk else None


def require(user: "User | AnonymousUser", server: Server, right: Right) -> None:
    """Raise `Http404` when the server may not even be viewed (a stranger learns nothing), else `PermissionDenied`."""
    held = rights(user, server)
    if Right.VIEW not in held:
        raise Http404("There is no such server.")
    if right not in held:
        raise PermissionDenied(f"You need the right “{right.label.lower()}” on {server.name}. Ask its owner for it.")


def require_command(user: "User | AnonymousUser", server: Server, text: str) -> None:
    """For one console command: who may read the console may send what its game's definition calls safe; the rest needs
    the right to send commands. Raises as `require` does."""
    game = games.all_games().get(server.game)
    is_safe = game is not None and game.console is not None and game.console.is_safe(text.strip())
    held = rights(user, server)
    require(user, server, Right.CONSOLE if is_safe and Right.RCON not in held else Right.RCON)


def require_owner(user: "User | AnonymousUser", server: Server, what: str) -> None:
    """For what no right covers, such as to “delete”: raises as `require` does unless `user` is the owner or staff."""
    require(user, server, Right.VIEW)
    if server.owner_id != user.pk and not user.is_staff:
        raise PermissionDenied(f"Only its owner or a moderator may {what} {server.name}.")


def may_use_layer(user: "User | AnonymousUser", layer: Layer) -> bool:
    """Whether `user` may see the layer and put it on a stack; `Layer.objects.usable_by` is the same for many.

    At most one query, none when `shared_with` was prefetched.
    """
    if not may_enter(user):
        return False
    if user.is_staff or layer.owner_id == user.pk or layer.visibility == Layer.Visibility.PUBLIC:
        return True
    return layer.visibility == Layer.Visibility.SHARED and user in layer.shared_with.all()


def may_change_layer(user: "User | AnonymousUser", layer: Layer) -> bool:
    """Its owner and staff may rebuild, share and delete it; one that a script makes, administrators only."""
    if layer.kind == Layer.Kind.SCRIPT:
        return may_write_scripts(user)
    return may_enter(user) and (user.is_staff or layer.owner_id == user.pk)


def require_layer_change(user: "User | AnonymousUser", layer: Layer) -> None:
    """Raise `PermissionDenied` unless `user` may change the layer, which they were shown already."""
    if layer.kind == Layer.Kind.SCRIPT:
        require_scripts(user)
    if not may_change_layer(user, layer):
        raise PermissionDenied(f"Only its owner or a moderator may change {layer.name}.")


def may_write_scripts(user: "User | AnonymousUser") -> bool:
    """Whether `user` may have scripts run on the machine, in a sandbox, that make layers."""
    return may_enter(user) and user.is_superuser


def require_scripts(user: "User | AnonymousUser") -> None:
    """Raise `PermissionDenied` unless `user` may have scripts run."""
    if not may_write_scripts(user):
        raise PermissionDenied("Layers that a script makes are for administrators to write, build, change and delete.")


def require_limits(user: "User | AnonymousUser") -> None:
    """Raise `PermissionDenied` unless `user` may say how much of the machine a server may use."""
    if not may_enter(user) or not user.is_staff:
        raise PermissionDenied("Limits are for moderators to set. Ask one of them.")


def may_override(user: "User | AnonymousUser | None", job: Job) -> bool:
    """Whether `user` may call off the job, or press what does: what a moderator stops, only moderators let run."""
    by = job.requested_by
    is_moderators_stop = job.kind == STOP and by is not None and by.is_staff
    return not is_moderators_stop or by == user or bool(user and user.is_authenticated and user.is_staff)


class FeedPolicy:
    """What the job engine asks before it shows a stream, a job or a topic to somebody (`settings.JOBS_POLICY`)."""

    @staticmethod
    def may_view_stream(user: Any, stream_id: int) -> bool | None:
        """A console needs the right to see it, a job's log follows the job; None when there is no such stream."""
        return FeedPolicy.may_view_streams([(user, stream_id)])[user.pk, stream_id]

    @staticmethod
    def may_view_streams(asked: Collection[tuple[Any, int]]) -> dict[tuple[int, int], bool | None]:
        """The same for many (user, stream) in four queries, two more for jobs of layers, by (user's key, stream)."""
        streams = {stream for _, stream in asked}
        consoles = {server.console_id: server for server in Server.objects.filter(console__in=streams)}
        jobs = {job.stream_id: job for job in Job.objects.filter(stream__in=streams)}
        subjects = Server.objects.in_bulk({number for job in jobs.values() if (number := _server_of(job))})
        layers = Layer.objects.prefetch_related("shared_with").in_bulk(
            {number for job in jobs.values() if (number := _number_of("layer", job))}
        )
        given = _given({user.pk for user, _ in asked if user.pk}, {*subjects, *(s.pk for s in consoles.values())})

        def may_view(user: Any, stream: int) -> bool | None:
            if server := consoles.get(stream):
                return {Right.VIEW, Right.CONSOLE} <= _rights(user, server, given)
            if job := jobs.get(stream):
                server = subjects.get(_server_of(job))
                held = _rights(user, server, given) if server else NOTHING
                return _may_view_job(user, job, server, held, layers.get(_number_of("layer", job)))
            return None

        return {(user.pk, stream): may_view(user, stream) for user, stream in asked}

    @staticmethod
    def may_view_job(user: Any, job: Job) -> bool:
        """A server's jobs are seen by who may view it, of a deleted one by its owner, who is told why that failed;
        installations, which hold no secrets, by every member."""
        server = Server.objects.filter(pk=_server_of(job)).first()
        held = rights(user, server) if server else NOTHING
        return _may_view_job(user, job, server, held, _layer_of(job))

    @staticmethod
    def may_cancel_job(user: Any, job: Job) -> bool:
        """Whoever may start and stop the server, but see `may_override`; a layer's owner; other jobs are for staff."""
        if not may_enter(user) or not may_override(user, job):
            return False
        if layer := _layer_of(job):
            return may_change_layer(user, layer)
        return user.is_staff or {Right.VIEW, Right.POWER} <= _rights_on_subject(user, job)

    @staticmethod
    def may_retry_job(user: Any, job: Job) -> bool:
        """Whoever may ask for what the job does."""
        if not may_enter(user):
            return False
        if layer := _layer_of(job):
            return may_change_layer(user, layer)
        if user.is_staff:
            return True
        server = Server.objects.filter(pk=_server_of(job)).first()
        if not server or job.kind in FOR_STAFF:
            return False
        if job.kind in FOR_OWNERS:
            return server.owner_id == user.pk and not server.deleted_at
        return {Right.VIEW, RIGHT_FOR.get(job.kind, Right.POWER)} <= rights(user, server)

    @staticmethod
    def objection(job: Job) -> str:
        """What has changed since the job was asked for: the owner was suspended, the right taken away.

        What the job works on may be gone, too: that the kinds say themselves.
        """
        server = Server.objects.select_related("owner").filter(pk=_server_of(job), deleted_at=None).first()
        if job.kind in SETTLED or not (server or _layer_of(job)):
            return ""
        if server and not server.owner.may_enter and job.kind in (STOP, *STARTS):
            return "" if job.kind == STOP else str(OwnerSuspended(server.name))
        if job.requested_by and not FeedPolicy.may_retry_job(job.requested_by, job):
            return f"{job.requested_by} may not do this any more. Ask somebody who may."
        return ""

    @staticmethod
    def subject_link(user: Any, job: Job) -> tuple[str, str] | None:
        """Name and page of what the job works on, for `user` who may view the job."""
        if job.subject.startswith("installation:"):
            return ("Installations", reverse("servers:installations")) if user.is_staff else None
        if layer := _layer_of(job):
            return layer.name, reverse("servers:layer", args=[layer.slug])
        server = Server.objects.present().filter(pk=_server_of(job)).first()
        return (server.name, reverse("servers:overview", args=[server.name])) if server else None

    @staticmethod
    def topics(user: Any) -> set[str]:
        """Topics the user may hear, in four queries: servers, layers, installations, jobs under way, their own."""
        if not may_enter(user):
            return set()
        own = Server.objects.filter(owner=user).values_list("pk", flat=True)  # deleted ones, too
        subjects = {f"server:{pk}" for pk in Server.objects.visible_to(user).values_list("pk", flat=True).union(own)}
        nodes = Node.objects.values_list("slug", flat=True)
        subjects |= {f"installation:{node}:{game}" for node in nodes for game in games.all_games()}
        subjects |= {f"layer:{pk}" for pk in Layer.objects.usable_by(user).values_list("pk", flat=True)}
        jobs = Job.objects.active().values_list("pk", "subject")
        seen = {f"job:{pk}" for pk, subject in jobs if user.is_staff or subject in subjects}
        everybodys = {"servers"} if user.is_staff else set()
        return subjects | seen | everybodys | {f"user:{user.pk}"}


def _given(users: set[int], servers: set[int]) -> dict[tuple[int, int], frozenset[Right]]:
    found = Membership.objects.filter(user__in=users, server__in=servers)
    return {(m.user_id, m.server_id): frozenset(Right(right) for right in m.rights) for m in found}


def _rights(user: Any, server: Server, given: Mapping[tuple[int, int], frozenset[Right]]) -> frozenset[Right]:
    known = _without_membership(user, server)
    return given.get((user.pk, server.pk), NOTHING) if known is None else known


def _rights_on_subject(user: Any, job: Job) -> frozenset[Right]:
    server = Server.objects.filter(pk=_server_of(job)).first()
    return rights(user, server) if server else NOTHING


def _may_view_job(user: Any, job: Job, server: Server | None, held: frozenset[Right], layer: Layer | None) -> bool:
    if not may_enter(user):
        return False
    is_own = server is not None and server.owner_id == user.pk
    if user.is_staff or is_own or Right.VIEW in held or job.subject.startswith("installation:"):
        return True
    return layer is not None and may_use_layer(user, layer)


def _server_of(job: Job) -> int:
    return _number_of("server", job)


def _layer_of(job: Job) -> Layer | None:
    number = _number_of("layer", job)
    return Layer.objects.filter(pk=number).first() if number else None


def _number_of(wanted: str, job: Job) -> int:
    """The number in a subject such as “server:12”; 0, which no row has, in any other."""
    kind, _, number = job.subject.partition(":")
    return int(number) if kind == wanted and number.isdecimal() else 0
