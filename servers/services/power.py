"""Start, stop and restart: what is wanted and the job that brings it about, in one transaction. The last press wins.

The job that installs the game is asked for in a transaction before: one transaction locks one job subject only.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from jobs.models import Job
from jobs.services import enqueue
from servers import games, own_files
from servers.access import may_override
from servers.errors import OwnerSuspended, ServerGone
from servers.layers import stack
from servers.models import AuditEvent, Server, ServerFile
from servers.services.common import locked, record, supersede
from servers.services.installations import installation_for_start
from servers.services.own_files import record_started_files
from servers.services.quotas import refuse_beyond

if TYPE_CHECKING:
    from portal.models import User

START, STOP, RESTART = "servers.start", "servers.stop", "servers.restart"
# A game that runs or is stopped is not started or stopped twice, but it would be restarted twice.
JOINED = {START: Job.ACTIVE, STOP: Job.ACTIVE, RESTART: (*Job.ACTIVE, Job.State.SUCCEEDED)}


def start_server(*, by: "User | None", server: Server) -> Job:
    """Start it; its game is installed first where the node does not have it. Harmless when it runs already.

    Raises `OwnerSuspended`, `DiskLimit`, `SlotEmpty`, `ServerGone`, `servers.games.UnknownGame`.
    """
    _refuse_suspended(server)
    refuse_beyond(server.owner_id, by=by)
    stack.require_slots_filled(server)
    install = installation_for_start(server, by=by)
    with locked(server) as fresh:
        _refuse_suspended(fresh)
        supersede(fresh, [STOP], [Job.State.QUEUED], by=by)
        return _press(fresh, START, "Start", Server.Desired.RUN, by=by, after=install)


def restart_server(*, by: "User | None", server: Server) -> Job:
    """Stop it if it runs, then start it with its present settings and the newest installation. Raises as start does."""
    _refuse_suspended(server)
    refuse_beyond(server.owner_id, by=by)
    stack.require_slots_filled(server)
    install = installation_for_start(server, by=by)
    with locked(server) as fresh:
        _refuse_suspended(fresh)
        supersede(fresh, [START, STOP], [Job.State.QUEUED], by=by)
        return _press(fresh, RESTART, "Restart", Server.Desired.RUN, by=by, after=install)


def stop_server(*, by: "User | None", server: Server) -> Job:
    """Stop it, also while it is starting. Harmless when it is stopped. Raises `ServerGone`."""
    with locked(server) as fresh:
        supersede(fresh, [START, RESTART], Job.ACTIVE, by=by)
        return _press(fresh, STOP, "Stop", Server.Desired.STOP, by=by)


def stop_servers_of(*, by: "User | None", owner: "User") -> list[Job]:
    """Stop every server of somebody who was suspended that runs, wants to or is about to."""
    jobs = []
    for server in Server.objects.present().filter(owner=owner):
        # The lock waits for a start that was pressed just before; a server deleted just before is no matter.
        with suppress(ServerGone), locked(server) as fresh:
            at_rest = fresh.desired == Server.Desired.STOP and not fresh.is_live
            if not at_rest or Job.objects.active().about(fresh.topic).exists():
                jobs.append(stop_server(by=by, server=fresh))
    return jobs


def take_up(*, server: Server, job: int, desired: Server.Desired, unless: Collection[str]) -> Job | None:
    """What a job does first: make its own wish the server's, as a retried one must, unless a newer job was asked for.

    Returns the newest later job of the kinds `unless`: then nothing is to be done. Raises `ServerGone`.
    """
    with locked(server) as fresh:
        own = Job.objects.select_related("requested_by").get(pk=job)
        later = Job.objects.about(fresh.topic).filter(pk__gt=job, kind__in=unless).exclude(state=Job.State.CANCELLED)
        newest_first = later.select_related("requested_by").order_by("-pk")
        if newest := next((one for one in newest_first if may_override(one.requested_by, own)), None):
            return newest
        Server.objects.filter(pk=fresh.pk).update(desired=desired)
    return None


def record_start(*, server: Server, files: Sequence[ServerFile]) -> None:
    """The job's: it is about to be started with its settings and these files written by hand."""
    game = games.get(server.game)
    by_hand = {key: one.value for key, one in own_files.by_hand(game, files).items()}
    Server.objects.filter(pk=server.pk).update(started_with=game.complete_settings(server.chosen) | by_hand)
    record_started_files(server=server, files=files)


def _press(
    server: Server, kind: str, verb: str, desired: Server.Desired, *, by: "User | None", after: Job | None = None
) -> Job:
    """Ask for the job. Somebody who presses twice within seconds, and whom nobody came between, pressed once."""
    Server.objects.filter(pk=server.pk).update(desired=desired)
    last = AuditEvent.objects.filter(server=server).order_by("-pk").first()
    is_same = last is not None and (last.action, last.actor_id) == (verb.lower(), by and by.pk)
    job = enqueue(
        kind=kind,
        subject=server.topic,
        title=f"{verb} {server.name}",
        args={"server": server.pk},
        node=server.node.slug,
        requested_by=by,
        after=after,
        # What a moderator stops is not one with a member's stop, which members may call off.
        coalesce=not (kind == STOP and by and by.is_staff),
        join=JOINED[kind] if is_same else (),
    )
    if not (last and is_same and last.detail.get("job") == job.pk):
        record(by, server, verb.lower(), job=job.pk)
    return job


def _refuse_suspended(server: Server) -> None:
    owner = get_user_model().objects.get(pk=server.owner_id)  # read now: the row lock does not freshen what is joined
    if not owner.may_enter:
        raise OwnerSuspended(server.name)
