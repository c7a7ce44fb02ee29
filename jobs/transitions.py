"""Every change of a job's state, each one transaction that also wakes what waited for it.

A queue row says no more than “look at job 12”. A queued job without one has something older on its subject, or an
`after` that is not finished, whose end delivers it: claiming and ending hold the subject so that this stays true.
"""

import uuid

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.signing import SignedPackage

from jobs import events, registry
from jobs.broker import Broker
from jobs.locks import lock_subject
from jobs.models import Job
from jobs.turns import PORTAL

# Every job passes here twice: as queryset expressions these took longer to compile than to run.
# Ready: it may start now, since nothing older on its subject is unfinished and what it follows has succeeded.
READY = """job.state = 'queued'
AND NOT EXISTS (SELECT FROM jobs_job AS busy WHERE busy.subject = job.subject AND busy.state = 'running')
AND NOT EXISTS (
    SELECT FROM jobs_job AS older WHERE older.subject = job.subject AND older.state = 'queued' AND older.id < job.id)
AND (job.after_id IS NULL OR 'succeeded' = (SELECT state FROM jobs_job AS first WHERE first.id = job.after_id))
"""
_CLAIM = f"""
UPDATE jobs_job AS job SET state = 'running', started_at = now(), beat_at = now() WHERE job.id = %s AND {READY}
"""  # noqa: S608  constants only
# Followers, and the next of the subject unless a free row of the queue is there for it. A row in flight is not
# enough: its delivery may have found the subject busy a moment ago.
_WAITING = f"""
SELECT job.* FROM jobs_job AS job WHERE job.after_id = %(job)s AND job.state = 'queued'
UNION
SELECT job.* FROM jobs_job AS job WHERE job.subject = %(subject)s AND {READY}
AND NOT EXISTS (SELECT FROM django_q_ormq AS free WHERE free.id = job.delivery AND free.lock <= now())
"""  # noqa: S608  constants only


def claim(job_id: int) -> Job | None:
    """Make the queued job a running one if it is its turn; `None` when there is nothing to run.

    The delivery is used up either way: the end of what stands in the way delivers again.
    """
    with transaction.atomic():
        job = Job.objects.filter(pk=job_id, state=Job.State.QUEUED).first()
        if not job:
            return None
        lock_subject(job.subject)
        _drop_delivery(job)
        if job.after and job.after.can_retry:
            fail_follower(job, job.after)
            return None
        with connection.cursor() as db:
            db.execute(_CLAIM, [job.pk])
            if not db.rowcount:
                return None
        events.publish(job.subject, topic(job.pk))
    job.state = Job.State.RUNNING
    return job


def end(job: Job, state: Job.State, error: str = "") -> bool:
    """Move the job from the state it was read in to a final one and deliver what waited; False if it was elsewhere."""
    with transaction.atomic():
        lock_subject(job.subject)
        was = Job.objects.filter(pk=job.pk, state=job.state)
        if not was.update(state=state, error=error, finished_at=Now()):
            return False
        _drop_delivery(job)
        for waiting in Job.objects.raw(_WAITING, {"job": job.pk, "subject": job.subject}):
            deliver(waiting)
        events.publish(job.subject, topic(job.pk))
    job.state = state
    return True


def fail_follower(job: Job, first: Job) -> bool:
    """End a job that was to follow `first`, which did not succeed, with the reason that one has."""
    reason = first.error or f"it was {first.get_state_display().lower()}."
    return end(job, Job.State.FAILED, f"“{first.title}” came first and did not succeed: {reason}")


def deliver(job: Job) -> None:
    """Put a fresh row for the job into its node's queue and wake the cluster, at commit."""
    member, bulk = job.requested_by_id or PORTAL, registry.is_bulk(job.kind)
    task = {
        "id": uuid.uuid4().hex,
        "name": f"job {job.pk}",
        "func": "jobs.worker.run_job",
        "args": (job.pk,),
        "kwargs": {},
        "ack_failure": True,
        "timeout": -1,  # jobs/lease.py keeps the deadline, and uses the alarm that django-q2 would
        "started": timezone.now(),
        "member": member,
        "bulk": bulk,
    }
    with transaction.atomic(savepoint=False):
        job.delivery = Broker(job.node).enqueue(SignedPackage.dumps(task), member=member, bulk=bulk)
        Job.objects.filter(pk=job.pk).update(delivery=job.delivery)


def topic(job_id: int) -> str:
    return f"job:{job_id}"


def _drop_delivery(job: Job) -> None:
    with connection.cursor() as db:
        db.execute("DELETE FROM django_q_ormq WHERE id = %s", [job.delivery])
