"""Brings back servers that should run and do not: after a reboot, or when what kept them was killed.

A crash is the runtime's to mend, and a start that a member saw fail is the member's. What was tried is read from the
jobs, so an agent that starts again goes on where it was.
"""

import logging
import time
from datetime import timedelta

from django.utils import timezone

from jobs.models import Job
from servers import games, services
from servers.errors import ServerError
from servers.models import Server
from servers.runtime.base import UnitState
from servers.services.power import RESTART, START

log = logging.getLogger(__name__)
FIRST_CHECK = 1.0  # seconds after it was first seen not to run: somebody may just be restarting the unit by hand
CHECK_EVERY, REFUSED_PAUSE = 2.0, 60.0  # seconds, per server that does not run, and per one that may not
ATTEMPTS = 3
WITHIN = timedelta(minutes=15)
FIRST_PAUSE = 3.0  # seconds after the last job; five times as long after each attempt


class Revival:
    """`consider` is called with every server at every look; it asks the database about few of them."""

    def __init__(self) -> None:
        self._next_check: dict[int, float] = {}

    def consider(self, server: Server, state: UnitState) -> None:
        if server.desired != Server.Desired.RUN or state.unit != "stopped":
            self._next_check.pop(server.pk, None)
        elif time.monotonic() >= self._next_check.setdefault(server.pk, time.monotonic() + FIRST_CHECK):
            self._next_check[server.pk] = time.monotonic() + CHECK_EVERY
            if _is_due(server):
                self._start(server)

    def _start(self, server: Server) -> None:
        try:
            services.start_server(by=None, server=server)
        except (ServerError, games.UnknownGame) as error:
            log.warning("%s should run and cannot be started: %s", server.name, error)
            self._next_check[server.pk] = time.monotonic() + REFUSED_PAUSE


def _is_due(server: Server) -> bool:
    if Job.objects.active().about(server.topic).exists():
        return False
    starts = list(Job.objects.about(server.topic).filter(kind__in=[START, RESTART])[:ATTEMPTS])
    if not starts:
        return False
    last = starts[0]
    if last.state in (Job.State.FAILED, Job.State.CANCELLED) and last.requested_by_id:
        return False
    recent = timezone.now() - WITHIN
    tries = sum(not job.requested_by_id and job.created_at > recent for job in starts)
    pause = timedelta(seconds=FIRST_PAUSE * 5**tries)
    return tries < ATTEMPTS and last.finished_at is not None and timezone.now() > last.finished_at + pause
