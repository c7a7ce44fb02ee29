"""Eight clusters race for hundreds of jobs over 20 subjects while their processes are killed at random."""

import time
from random import Random

import pytest
from django.db import connection
from django.db.models import Count

from jobs.models import Job
from tests.engine.clusters import Clusters, ask, lines_of
from tests.generated import cases, dice
from tests.stack import wait_for

CLUSTERS, SUBJECTS, LINES = 8, 20, 5
JOBS, KILLING = cases(300, 500), cases(4, 8)  # KILLING in seconds

DOUBLE_RUNS = """
SELECT count(*) FILTER (WHERE NOT alone), count(*) - count(DISTINCT job),
       count(*) FILTER (WHERE previous_job > job OR previous_end > began)
FROM (
    SELECT *, lag(job) OVER each AS previous_job, lag(ended) OVER each AS previous_end
    FROM engine_run WINDOW each AS (PARTITION BY subject ORDER BY began)
) AS runs
"""


def double_runs() -> tuple[int, int, int]:
    """Runs that met another one on their subject, that were of a job already run, that began out of turn."""
    with connection.cursor() as db:
        db.execute(DOUBLE_RUNS)
        return db.fetchone()


def counted() -> dict[str, int]:
    return dict(Job.objects.order_by().values_list("state").annotate(Count("pk")))


def kill_at_random(clusters: Clusters, chance: Random) -> int:
    """Every quarter of a second a pusher, monitor or worker, now and then a whole cluster, which comes back."""
    kills, limit = 0, time.monotonic() + KILLING
    while time.monotonic() < limit:
        name = chance.choice(sorted(clusters.processes))
        if chance.random() < 0.1:
            clusters.kill(name)
            clusters.start_cluster(name)
            kills += 2  # its workers
        elif children := clusters.children(name):
            chance.choice(children).kill()
            kills += 1
        time.sleep(0.25)
    return kills


@pytest.mark.soak
def test_no_job_runs_twice_or_is_stuck_when_clusters_race_and_are_killed(clusters: Clusters) -> None:
    for number in range(CLUSTERS):
        clusters.start_cluster(f"cluster-{number}")
    jobs = [ask("witness", f"thing:{n % SUBJECTS}", lines=LINES, seconds=0.2) for n in range(JOBS)]
    wait_for(lambda: counted().get("succeeded", 0) > 20, seconds=60, what="the race being on")
    kills = kill_at_random(clusters, dice("race"))
    at_work = list(Job.objects.filter(state="running").values_list("pk", flat=True))
    wait_for(lambda: not Job.objects.filter(pk__in=at_work, state="running").exists(), seconds=60, what="no job stuck")
    wait_for(lambda: not Job.objects.active().exists(), seconds=60, what="all jobs being over")
    ended = counted()
    assert set(ended) <= {"succeeded", "lost"}
    assert ended["succeeded"] >= JOBS - kills
    assert sum(ended.values()) == JOBS
    assert double_runs() == (0, 0, 0)
    expected = [f"line {number}" for number in range(LINES)]
    for job in jobs:
        job.refresh_from_db()
        lines = lines_of(job)
        assert lines == (expected if job.state == "succeeded" else expected[: len(lines)])
    for name in list(clusters.processes):  # quicker than eight orderly stops
        clusters.kill(name)
