"""Runs one job in a worker of the cluster: django-q2 calls `run_job` for each delivery."""

import logging
import traceback

from django.db import Error, InterfaceError, OperationalError, connection

from jobs import lease as leases
from jobs import registry
from jobs.full_disk import SENTENCE, is_full
from jobs.lease import Lease
from jobs.models import Job
from jobs.policy import get_policy
from jobs.run import Cancelled, Ending, Run
from jobs.transitions import claim

OTHER_VERSION = "This was asked for from another version of the portal and cannot run in this one. Start it anew."
DATABASE_LOST = "The connection to the database broke while this ran. Try again."
UNEXPECTED = "Something went wrong that should not. Try again; if it stays, show an admin this job's log."
log = logging.getLogger(__name__)


def run_job(job_id: int) -> None:
    """Claim the job and run it to a final state, or do nothing when it is not its turn.

    Delivering a job twice is harmless. To be called in a process's main thread, for a job that is committed.
    """
    if leases.shutting_down:
        return
    try:
        job = claim(job_id)
    except Error as error:
        log.warning("Job %s cannot be claimed, it will be delivered again: %s", job_id, str(error).strip())
        return
    if job:
        _execute(job)


def _execute(job: Job) -> None:
    run = Run(job.pk)
    lease = Lease(job, run)
    ending = None
    lease.begin()
    try:
        try:
            ending = _call(job, run)
        finally:
            lease.disarm()
    except Cancelled:  # the interrupt, when it hits outside of the handler
        pass
    if run.stop and not (ending and ending.state == Job.State.SUCCEEDED):
        ending = run.stop
    lease.finish(ending or Ending(Job.State.CANCELLED))
    if run.stop or run.reconnected:
        connection.close()  # an interrupt may have left it in the middle of something


def _call(job: Job, run: Run) -> Ending:
    """Call the job's kind; what it ended as. Only `Cancelled` comes through."""
    try:
        kind = registry.get(job.kind)
        if objection := get_policy().objection(job):
            return Ending(Job.State.FAILED, objection)
        kind.function(run, **kind.clean(job.args))
    except (registry.UnknownKind, registry.BadArguments):
        log.exception("Job %s cannot run", job.pk)
        return Ending(Job.State.FAILED, OTHER_VERSION)
    except registry.JobError as error:
        return Ending(Job.State.FAILED, SENTENCE if is_full(error) else str(error))
    except (Exception, SystemExit) as error:
        log.exception("Job %s (%s) failed", job.pk, job.kind)
        run.log(traceback.format_exception_only(error)[-1])
        if is_full(error):
            return Ending(Job.State.FAILED, SENTENCE)
        lost = isinstance(error, OperationalError | InterfaceError)
        return Ending(Job.State.FAILED, DATABASE_LOST if lost else UNEXPECTED)
    return Ending(Job.State.SUCCEEDED)
