"""Every change of a job's state, each one transaction that also wakes what waited for it.

A queue row says no more than “look at job 12”. A queued job without one has something older on its subject, or an
`after` that is not finished, whose end delivers it: claiming and ending hold the subject so that this stays true.
"""

import uuid

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from jobs import events
from jobs.broker import Broker
from jobs.locks import lock_subject
from jobs.models import Job, JobQuerySet

AFTER_FAILED = "It was to follow “{title}”, which did not succeed. Mend that, then start this again."


def claim(job_id: int) -> Job | None:
    """Make the queued job a running one if it is its turn; `None` when there is nothing to run.

    The delivery is used up either way: the end of what stands in the way delivers again.
    """
    with transaction.atomic():
        job = Job.objects.select_related("after").filter(pk=job_id, state=Job.State.QUEUED).first()
        if not job:
            return None
        lock_subject(job.subject)
        OrmQ.objects.filter(pk__in=[job.delivery or 0]).delete()
        if job.after and job.after.can_retry:
            end(job, Job.State.FAILED, AFTER_FAILED.format(title=job.after))
            return None
        if not Job.objects.filter(pk=job_id).ready().update(state=Job.State.RUNNING, started_at=Now(), beat_at=Now()):
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
        OrmQ.objects.filter(pk__in=[job.delivery or 0]).delete()
        followers = Q(after=job, state=Job.State.QUEUED)
        for waiting in Job.objects.filter(followers | Q(pk__in=undelivered(Job.objects.about(job.subject)))):
            deliver(waiting)
        events.publish(job.subject, topic(job.pk))
    job.state = state
    return True


def undelivered(jobs: JobQuerySet) -> JobQuerySet:
    """Those of `jobs` that may start but have no free queue row. A row in flight does not count: it may be dropped."""
    free = OrmQ.objects.filter(pk=OuterRef("delivery"), lock__lte=Now())
    return jobs.ready().exclude(Exists(free))


def deliver(job: Job) -> None:
    """Put a fresh row for the job into its node's queue and wake the cluster, at commit."""
    task = {
        "id": uuid.uuid4().hex,
        "name": f"job {job.pk}",
        "func": "jobs.worker.run_job",
        "args": (job.pk,),
        "kwargs": {},
        "ack_failure": True,
        "timeout": -1,  # jobs/lease.py keeps the deadline, and uses the alarm that django-q2 would
        "started": timezone.now(),
    }
    with transaction.atomic(savepoint=False):
        job.delivery = Broker(job.node).enqueue(SignedPackage.dumps(task))
        Job.objects.filter(pk=job.pk).update(delivery=job.delivery)


def topic(job_id: int) -> str:
    return f"job:{job_id}"
