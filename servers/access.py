"""Who may do what: the one policy that views, the API, sockets, admin and files all ask."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import Http404

from jobs.models import Job
from servers import games
from servers.models import Membership, Node, Right, Server

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

    from portal.models import User

EVERYTHING = frozenset(Right)
NOTHING: frozenset[Right] = frozenset()


def may_enter(user: "User | AnonymousUser") -> bool:
    """Whether the user is signed in and neither suspended nor switched off."""
    return bool(user.is_authenticated and user.may_enter)


def rights(user: "User | AnonymousUser", server: Server) -> frozenset[Right]:
    """What `user` may do with `server`: the owner and staff everything, others what they were given.

    A deleted server is there for staff alone. At most one query, none when memberships were prefetched.
    """
    if not user.is_authenticated or not user.may_enter:
        return NOTHING
    if user.is_staff:
        return EVERYTHING
    if server.deleted_at:
        return NOTHING
    if server.owner_id == user.pk:
        return EVERYTHING
    if "memberships" in getattr(server, "_prefetched_objects_cache", {}):
        given = next((m.rights for m in server.memberships.all() if m.user_id == user.pk), [])
    else:
        given = Membership.objects.filter(user=user, server=server).values_list("rights", flat=True).first() or []
    return frozenset(Right(right) for right in given)


def require(user: "User | AnonymousUser", server: Server, right: Right) -> None:
    """Raise `Http404` when the server may not even be viewed (a stranger learns nothing), else `PermissionDenied`."""
    held = rights(user, server)
    if Right.VIEW not in held:
        raise Http404("There is no such server.")
    if right not in held:
        raise PermissionDenied(f"You need the right “{right.label.lower()}” on {server.name}. Ask its owner for it.")


def require_owner(user: "User | AnonymousUser", server: Server, what: str) -> None:
    """For what no right covers, such as to “delete”: raises as `require` does unless `user` is the owner or staff."""
    require(user, server, Right.VIEW)
    if server.owner_id != user.pk and not user.is_staff:
        raise PermissionDenied(f"Only its owner or a moderator may {what} {server.name}.")


class FeedPolicy:
    """What the job engine asks before it shows a stream, a job or a topic to somebody (`settings.JOBS_POLICY`)."""

    @staticmethod
    def may_view_stream(user: Any, stream_id: int) -> bool | None:
        """A console needs the right to see it, a job's log follows the job; None when there is no such stream."""
        return FeedPolicy.may_view_streams([(user, stream_id)])[user.pk, stream_id]

    @staticmethod
    def may_view_streams(asked: Collection[tuple[Any, int]]) -> dict[tuple[int, int], bool | None]:
        """`may_view_stream` for many (user, stream) at once, in at most five queries."""
        streams = {stream for _, stream in asked}
        members = Prefetch("memberships", Membership.objects.filter(user__in={user.pk for user, _ in asked}))
        servers = Server.objects.prefetch_related(members)
        consoles = {server.console_id: server for server in servers.filter(console__in=streams)}
        jobs = {job.stream_id: job for job in Job.objects.filter(stream__in=streams - consoles.keys())}
        numbers = {number for job in jobs.values() if (number := _server_number(job)) is not None}
        subjects = servers.in_bulk(numbers) if numbers else {}

        def answer(user: Any, stream: int) -> bool | None:
            if server := consoles.get(stream):
                return {Right.VIEW, Right.CONSOLE} <= rights(user, server)
            if job := jobs.get(stream):
                return _job_allows(user, job, Right.VIEW, members=True, servers=subjects)
            return None

        return {(user.pk, stream): answer(user, stream) for user, stream in asked}

    @staticmethod
    def may_view_job(user: Any, job: Job) -> bool:
        """A server's jobs are seen by who may view it; installations, which hold no secrets, by every member."""
        return _job_allows(user, job, Right.VIEW, members=True)

    @staticmethod
    def may_control_job(user: Any, job: Job) -> bool:
        """Cancel and retry: whoever may start and stop the server; other jobs are for staff."""
        return _job_allows(user, job, Right.POWER, members=False)

    @staticmethod
    def topics(user: Any) -> set[str]:
        """Topics the user may hear, in at most two queries."""
        if not may_enter(user):
            return set()
        topics = {f"server:{pk}" for pk in Server.objects.visible_to(user).values_list("pk", flat=True)}
        nodes = Node.objects.values_list("slug", flat=True)
        topics |= {f"installation:{node}:{game}" for node in nodes for game in games.all_games()}
        return topics | {f"user:{user.pk}"}


def _server_number(job: Job) -> int | None:
    """The server a job is about."""
    kind, _, number = job.subject.partition(":")
    return int(number) if kind == "server" and number.isdecimal() else None


def _job_allows(
    user: Any, job: Job, right: Right, *, members: bool, servers: Mapping[int, Server] | None = None
) -> bool:
    """`servers`: those that the jobs in question are about, when the caller has fetched them."""
    if not may_enter(user):
        return False
    if user.is_staff:
        return True
    if (number := _server_number(job)) is not None:
        server = Server.objects.filter(pk=number).first() if servers is None else servers.get(number)
        return server is not None and {Right.VIEW, right} <= rights(user, server)
    return members and job.subject.startswith("installation:")
