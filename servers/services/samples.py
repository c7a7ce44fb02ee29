"""How running servers do, a row a minute for 30 days: written by the agent, read by `servers/activity.py`."""

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone

from servers.models import Sample

KEEP = timedelta(days=30)
AT_ONCE = 5000  # rows cleared by one statement, so that it holds nothing up


def record_samples(*, samples: Iterable[Sample]) -> None:
    """One statement for all of a node's servers. A minute that is there already stays as it is."""
    Sample.objects.bulk_create(samples, batch_size=1000, ignore_conflicts=True)


def clear_samples() -> int:
    """Delete some of what is older than `KEEP`, the oldest first; returns how many. Called until it says 0."""
    old = Sample.objects.filter(at__lt=timezone.now() - KEEP).order_by("at")
    return Sample.objects.filter(pk__in=old.values("pk")[:AT_ONCE]).delete()[0]
