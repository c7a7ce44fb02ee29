"""Forgets jobs that ended long ago, with their logs, so that the tables are bounded; called by the reaper."""

from datetime import timedelta

from django.db import transaction
from django.db.models.functions import Now

from jobs.models import Job, Stream

KEEP_JOBS = timedelta(days=90)
BATCH, BATCHES = 50, 200  # jobs in a transaction, since each may have a long log, and transactions at a time


def forget_jobs() -> int:
    """Delete jobs that ended more than `KEEP_JOBS` ago; returns how many."""
    old = Job.objects.finished().filter(finished_at__lt=Now() - KEEP_JOBS).order_by("pk")
    total = 0
    for _ in range(BATCHES):
        with transaction.atomic():
            found = dict(old.values_list("pk", "stream")[:BATCH])
            Job.objects.filter(pk__in=found).delete()
            Stream.objects.filter(pk__in=found.values()).delete()
        total += len(found)
        if len(found) < BATCH:
            break
    return total
