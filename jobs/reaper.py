"""Brings every job to an end whatever was killed: one reaper at a time, elected by an advisory lock, in any process.

It runs as a thread of each cluster's main process and of the agent. Times are the database's own.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import Error, connection, transaction
from django.db.models.functions import Now

from jobs import retention, streams
from jobs.locks import elect_reaper, job_is_held, resign_reaper
from jobs.models import Job
from jobs.transitions import READY, deliver, end, fail_follower

EVERY = 5.0  # seconds between two rounds
TRIM_EVERY, FORGET_EVERY = 60.0, 3600.0
LOST_AFTER = timedelta(seconds=30)  # above lease.ALARM: by then the process that ran the job has ended itself
BATCH = 100
LOST = "The worker that ran this was killed. Try again."
_FORGOTTEN = f"""
SELECT job.* FROM jobs_job AS job WHERE {READY}
AND NOT EXISTS (SELECT FROM django_q_ormq AS delivery WHERE delivery.id = job.delivery) ORDER BY job.id LIMIT %s
"""  # noqa: S608  constants only
log = logging.getLogger(__name__)


def run_forever(stop: threading.Event) -> None:
    """A round every few seconds until `stop` is set; a database that is away is waited for."""
    trimmed = forgot = 0.0
    while not stop.wait(EVERY):
        try:
            run_once()
            if time.monotonic() - trimmed > TRIM_EVERY:
                trimmed = time.monotonic()
                _elected(streams.trim)
            if time.monotonic() - forgot > FORGET_EVERY:
                forgot = time.monotonic()
                _elected(retention.forget_jobs)
        except Error as error:
            log.warning("The reaper cannot work, trying again: %s", str(error).strip())
            connection.close()
    connection.close()


def run_once() -> int:
    """One round, if nobody else is at it; returns how many jobs it ended or delivered."""
    return _elected(lambda: _end_lost() + _end_followers() + _deliver_forgotten())


def _elected(work: Callable[[], int]) -> int:
    if not elect_reaper():
        return 0
    try:
        return work()
    finally:
        resign_reaper()


def _end_lost() -> int:
    """Running jobs whose process is gone: no beat for long and nobody holds the job's lock."""
    silent = Job.objects.filter(state=Job.State.RUNNING, beat_at__lt=Now() - LOST_AFTER)
    count = 0
    for job in silent.order_by("pk")[:BATCH]:
        with transaction.atomic():
            # The lock, if free, is ours until the commit: a process that comes back meanwhile finds the job lost.
            if not job_is_held(job.pk) and silent.filter(pk=job.pk).exists():
                count += end(job, Job.State.LOST, LOST)
    return count


def _end_followers() -> int:
    """Queued jobs whose predecessor did not succeed and which no cluster took up to say so."""
    failed = [Job.State.FAILED, Job.State.CANCELLED, Job.State.LOST]
    # Few jobs follow another: said so, the planner looks at those and not at all that ever failed.
    following = Job.objects.filter(state=Job.State.QUEUED).exclude(after=None)
    waiting = following.filter(after__state__in=failed).select_related("after")
    return sum(fail_follower(job, job.after) for job in waiting[:BATCH] if job.after)


def _deliver_forgotten() -> int:
    """Jobs that could start but have no row in the queue, for whatever reason."""
    forgotten = list(Job.objects.raw(_FORGOTTEN, [BATCH]))
    for job in forgotten:
        deliver(job)
    return len(forgotten)
