"""What monitoring asks: `/healthz` (this process), `/readyz` (what it needs) and `/metrics` (Prometheus)."""

import os
from collections.abc import Callable
from datetime import timedelta
from hmac import compare_digest
from threading import Lock

import psycopg
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from jobs.full_disk import is_full
from jobs.models import Job
from jobs.services import queue_age
from servers.models import Node, Server

OLDEST_QUEUED = 120  # seconds
AGENT_SILENT = timedelta(minutes=1)
NEARLY_FULL = 1 << 30  # bytes
CONNECT_SECONDS = 3
_connecting = Lock()


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 as long as this process answers requests; asks nobody else, so a database restart does not end it."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when members can use the portal, else 503 with a sentence for each thing that is wrong."""
    wrong = problems()
    return JsonResponse({"status": "unready" if wrong else "ok", "problems": wrong}, status=503 if wrong else 200)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, for the holder of `LEFT4ME_METRICS_TOKEN`; without that setting there is no such page.

    The client's address decides nothing: behind a proxy on this host every visitor comes from the loopback address.
    """
    token = os.environ.get("LEFT4ME_METRICS_TOKEN", "")
    if not token:
        raise Http404
    if not compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
        return HttpResponse("The metrics token is missing or wrong.\n", "text/plain", 401)
    return HttpResponse(generate_latest(), CONTENT_TYPE_LATEST)


def problems() -> dict[str, str]:
    """What keeps the portal from working, by part: `database`, `queue`, `agents`, `disk`."""
    try:
        _connect()
        checks: dict[str, Callable[[], str]] = {"queue": _queue, "agents": _agents, "disk": _disk}
        return {part: sentence for part, check in checks.items() if (sentence := check())}
    except (DatabaseError, psycopg.Error) as error:
        if is_full(error):
            return {"disk": "The disk of the database is full. Make room."}
        return {"database": "The database does not answer."}


def _connect() -> None:
    """Raises within some seconds, also where the database hangs, when a query would wait for ever.

    One at a time, since nobody needs to be signed in to ask.
    """
    if not _connecting.acquire(timeout=CONNECT_SECONDS):
        raise psycopg.OperationalError("others wait for it already")
    try:
        given = connection.settings_dict
        names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
        own = {ours: given[name] for name, ours in names.items() if given[name]}
        options = {name: value for name, value in given["OPTIONS"].items() if name != "pool"}
        psycopg.connect(**options | own | {"connect_timeout": CONNECT_SECONDS}).close()
    finally:
        _connecting.release()


def _queue() -> str:
    age = queue_age()
    if age <= OLDEST_QUEUED:
        return ""
    return f"A job has been waiting for {age:.0f} s: is the worker (manage.py cluster) running?"


def _agents() -> str:
    """Nodes that hold servers but whose agent is silent."""
    busy = Node.objects.filter(pk__in=Server.objects.present().values("node"))
    now = timezone.now()
    silent = [node.slug for node in busy if not node.agent_seen_at or now - node.agent_seen_at > AGENT_SILENT]
    return f"No sign of life from the agent of: {', '.join(silent)}." if silent else ""


def _disk() -> str:
    """Nodes whose disk is nearly full, as their agents say."""
    free = {node.slug: node.agent_info.get("disk_free") for node in Node.objects.all()}
    full = [f"{name} ({size} bytes free)" for name, size in free.items() if size is not None and size < NEARLY_FULL]
    return f"The disk is nearly full on: {', '.join(full)}. Make room." if full else ""


class DatabaseCollector(Collector):
    """Gauges read from the database when Prometheus asks; three queries."""

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is asked of the database when this is registered

    def collect(self) -> list[GaugeMetricFamily]:
        try:
            return self._gauges()
        except DatabaseError:
            return [GaugeMetricFamily("left4me_database_up", "Whether the database answers.", value=0)]

    def _gauges(self) -> list[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("left4me_jobs_active", "Jobs queued and running.", labels=["state"])
        states = list(Job.objects.active().values_list("state", flat=True))
        for state in Job.ACTIVE:
            jobs.add_metric([state], states.count(state))
        agents = GaugeMetricFamily("left4me_agent_age_seconds", "Since an agent's last sign of life.", labels=["node"])
        for node in Node.objects.exclude(agent_seen_at=None):
            assert node.agent_seen_at
            agents.add_metric([node.slug], (timezone.now() - node.agent_seen_at).total_seconds())
        return [
            GaugeMetricFamily("left4me_database_up", "Whether the database answers.", value=1),
            GaugeMetricFamily("left4me_queue_age_seconds", "Wait of the longest-waiting job.", value=queue_age()),
            jobs,
            agents,
        ]


REGISTRY.register(DatabaseCollector())

urlpatterns = [path("healthz", healthz), path("readyz", readyz), path("metrics", metrics)]
