"""Start, stop and restart: what is wanted and the job that brings it about, in one transaction. The last press wins."""

from typing import TYPE_CHECKING

from jobs.models import Job
from jobs.services import enqueue
from servers.errors import OwnerSuspended
from servers.models import Server
from servers.services.common import locked, record, supersede
from servers.services.installations import installation_for_start

if TYPE_CHECKING:
    from portal.models import User

START, STOP, RESTART = "servers.start", "servers.stop", "servers.restart"


def start_server(*, by: "User | None", server: Server) -> Job:
    """Start it; its game is installed first where the node does not have it. Harmless when it runs already.

    Raises `OwnerSuspended`, `ServerGone`, `servers.games.UnknownGame`.
    """
    with locked(server) as fresh:
        _refuse_suspended(fresh)
        supersede(fresh, [STOP], [Job.State.QUEUED], by=by)
        return _press(fresh, START, "Start", Server.Desired.RUN, by=by)


def restart_server(*, by: "User | None", server: Server) -> Job:
    """Stop it if it runs, then start it with its present settings and the newest installation. Raises as start does."""
    with locked(server) as fresh:
        _refuse_suspended(fresh)
        supersede(fresh, [START, STOP], [Job.State.QUEUED], by=by)
        return _press(fresh, RESTART, "Restart", Server.Desired.RUN, by=by)


def stop_server(*, by: "User | None", server: Server) -> Job:
    """Stop it, also while it is starting. Harmless when it is stopped. Raises `ServerGone`."""
    with locked(server) as fresh:
        supersede(fresh, [START, RESTART], Job.ACTIVE, by=by)
        return _press(fresh, STOP, "Stop", Server.Desired.STOP, by=by)


def stop_servers_of(*, by: "User | None", owner: "User") -> list[Job]:
    """Stop every server of somebody who is being suspended that runs or wants to."""
    wanted = Server.objects.present().filter(owner=owner)
    stopped = wanted.filter(desired=Server.Desired.STOP, unit__in=[Server.Unit.STOPPED, Server.Unit.CRASHED])
    return [stop_server(by=by, server=server) for server in wanted.exclude(pk__in=stopped.values("pk"))]


def _press(server: Server, kind: str, verb: str, desired: Server.Desired, *, by: "User | None") -> Job:
    Server.objects.filter(pk=server.pk).update(desired=desired)
    job = enqueue(
        kind=kind,
        subject=server.topic,
        title=f"{verb} {server.name}",
        args={"server": server.pk},
        node=server.node.slug,
        requested_by=by,
        after=installation_for_start(server, by=by) if desired == Server.Desired.RUN else None,
        coalesce=True,
    )
    record(by, server, verb.lower(), job=job.pk)
    return job


def _refuse_suspended(server: Server) -> None:
    if not server.owner.may_enter:
        raise OwnerSuspended(server.name)
