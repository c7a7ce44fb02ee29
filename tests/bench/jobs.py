"""From `enqueue` to the first line of the handler, beside the same with django-q2's own ORM broker.

Both clusters have four workers and use the same database in the same run. Times are of CLOCK_MONOTONIC, which all
processes of a machine share.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, latencies, percentile
from tests.bench.scale import scaled

ONE_BY_ONE, BURST, WARM_UP, COMPARED, FAIR = scaled((200, 100, 8, 40, 5), (5, 5, 1, 2, 1))
HUNDRED, EACH = 100, 0.2  # jobs of another member that wait, and seconds each takes


def figures() -> Iterator[Figure]:
    from tests.engine.clusters import Clusters

    with tempfile.TemporaryDirectory() as folder, Clusters(Path(folder)) as clusters:
        clusters.start_cluster(workers=4)
        _ours(WARM_UP)
        ours = _ours(ONE_BY_ONE)
        yield from latencies("jobs.enqueue_to_handler", ours, p50=15, p99=60)
        yield from latencies(f"jobs.enqueue_to_handler_in_a_burst_of_{BURST}", _ours(BURST, at_once=True))
        for kind in ("count", "bulk"):
            yield from _behind_a_hundred(kind)
        clusters.environment["DJANGO_SETTINGS_MODULE"] = "tests.load.orm_settings"
        clusters.start("qcluster")
        _theirs(WARM_UP)
        theirs = _theirs(COMPARED)
        yield from latencies("jobs.enqueue_to_handler_with_the_orm_broker_of_django-q2", theirs)
        times = percentile(theirs, 50) / percentile(ours, 50)
        yield Figure("jobs.times_faster_than_the_orm_broker_of_django-q2", times, "times", 2, at_least=True)


def _behind_a_hundred(kind: str) -> Iterator[Figure]:
    """A member's single job while another has a hundred of the same class: how long it waits, and behind how many."""
    from django.utils import timezone

    from jobs.models import Job
    from jobs.services import cancel
    from portal.models import User
    from tests.engine.clusters import ask
    from tests.stack import wait_for

    alice, bob = (User.objects.get_or_create(username=name)[0] for name in ("bench-alice", "bench-bob"))
    waits, passed = [], []
    for _ in range(FAIR):
        hundred = [ask(kind, f"thing:{n}", lines=1, seconds=EACH, requested_by=alice) for n in range(HUNDRED)]
        wait_for(
            lambda jobs=hundred: Job.objects.filter(pk__in=[job.pk for job in jobs], state="running").exists(),
            seconds=60,
        )
        asked = ask(kind, "thing:bob", lines=1, seconds=0, requested_by=bob)
        committed = timezone.now()
        wait_for(lambda pk=asked.pk: Job.objects.filter(pk=pk, state="succeeded").exists(), seconds=60)
        single = Job.objects.get(pk=asked.pk)
        waits.append((single.started_at - single.created_at).total_seconds() * 1000)
        between = (committed, single.started_at)
        passed.append(Job.objects.filter(requested_by=alice, started_at__range=between).count())
        for job in hundred:
            cancel(job=job)
        wait_for(lambda: not Job.objects.active().exists(), seconds=60)
    name = "bulk" if kind == "bulk" else "quick"
    yield Figure(f"jobs.{name}_behind_a_hundred_of_another_member.max", max(waits), "ms", 1000 * EACH + 100)
    yield Figure(f"jobs.{name}_behind_a_hundred_of_another_member.started_before", max(passed), "jobs", 1)


def _ours(count: int, *, at_once: bool = False) -> list[float]:
    """Milliseconds of `count` jobs, each waited for unless `at_once`."""
    from jobs.models import Job
    from tests.engine.clusters import ask, lines_of
    from tests.stack import wait_for

    jobs = []
    for number in range(count):
        job = ask("stamp", f"thing:{number}", began=time.monotonic_ns())
        jobs.append(job)
        if not at_once:
            wait_for(lambda pk=job.pk: not Job.objects.active().filter(pk=pk).exists(), seconds=60, every=0.01)
    wait_for(lambda: not Job.objects.active().exists(), seconds=60)
    return [float(lines_of(job)[0]) for job in jobs]


def _theirs(count: int) -> list[float]:
    from django_q.brokers.orm import ORM
    from django_q.tasks import async_task, result

    broker = ORM("own")
    times = []
    for _ in range(count):
        task = async_task("tests.engine.tasks.since", time.monotonic_ns(), broker=broker)
        times.append(result(task, wait=60_000))
    return times
