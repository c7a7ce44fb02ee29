"""The database, the portal's processes as the database knows them, and the ports given to servers."""

import socket
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from jobs.models import Job
from servers.doctor.check import Check, State, as_portal, verdict
from servers.models import Node, Server, ServerPort

CLOCKS_APART = 2.0  # seconds between this machine and the database's
AGENT_SILENT = timedelta(seconds=30)
LONG_QUEUED = timedelta(minutes=2)


def examine() -> Iterator[Check]:
    with as_portal():
        try:
            yield _database()
        except DatabaseError as error:
            yield Check("database", State.FAIL, f"does not answer: {str(error).strip()} See DATABASE_URL.")
            return
        yield _schema()
        yield _agent()
        yield _queue()
        yield _ports()
        if settings.RUNTIME == "systemd":
            yield players_address()


def _database() -> Check:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())")
        version, clock = cursor.fetchone()
    apart = abs(float(clock) - timezone.now().timestamp())
    wrong = [f"Its clock and ours are {apart:.1f} s apart."] if apart > CLOCKS_APART else []
    return verdict("database", wrong, f"PostgreSQL {version}, clocks {apart * 1000:.0f} ms apart.")


def _schema() -> Check:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    wrong = [f"{len(plan)} migrations are not applied: run manage.py migrate."] if plan else []
    return verdict("schema", wrong, "every migration is applied.")


def _agent() -> Check:
    node = Node.objects.filter(slug=settings.NODE).first()
    if not node or not node.agent_seen_at:
        return Check("agent", State.FAIL, f"no agent of the node {settings.NODE} was ever seen: start left4me-agent.")
    silent = timezone.now() - node.agent_seen_at
    wrong = [f"Silent for {silent.total_seconds():.0f} s: see the log of left4me-agent."]
    return verdict("agent", wrong if silent > AGENT_SILENT else [], "watches this node.")


def _queue() -> Check:
    queued = Job.objects.filter(node=settings.NODE, state=Job.State.QUEUED, after=None)
    late = queued.filter(created_at__lt=timezone.now() - LONG_QUEUED).count()
    wrong = [f"{late} jobs have waited for two minutes: see the log of left4me-worker."] if late else []
    return verdict("queue", wrong, f"{queued.count()} jobs wait.", state=State.WARN)


def _ports() -> Check:
    """Ports of servers that do not run must be free for them."""
    given = ServerPort.objects.filter(node__slug=settings.NODE, server__deleted_at=None)
    stopped = given.filter(server__unit__in=[Server.Unit.STOPPED, Server.Unit.CRASHED]).select_related("server")
    taken = [
        f"Port {port.number} of {port.server.name} is used by another program." for port in stopped if _taken(port)
    ]
    return verdict("ports", taken, f"{given.count()} are given to servers; none is taken by something else.")


def players_address() -> Check:
    """Browsers send the portal's cookies to every port of its name, also to what a game serves there."""
    node = Node.objects.filter(slug=settings.NODE).first()
    address = node.address.lower() if node else ""
    wrong = [
        f"Players connect to {address}, which is the portal's own name: games could serve pages there. Give players a"
        " name of their own (docs/operations.md, “A name for players”)."
    ]
    same = address in {host.lower() for host in settings.ALLOWED_HOSTS}
    return verdict("players' address", wrong if same else [], f"{address} is not the portal's.", state=State.WARN)


def _taken(port: ServerPort) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port.number))
            except OSError:
                return True
    return False
