"""What is killed in mid-job: every job ends within a minute, none runs twice at a time, no line is lost."""

import time

import pytest
from django.db import connection

from jobs.models import Job
from tests.engine.clusters import Clusters, ask, lines_of, wait_until
from tests.environment import postgres
from tests.stack import wait_for


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def never_together() -> bool:
    """No job found another one at work on its subject, and none ran more than once."""
    with connection.cursor() as db:
        db.execute("SELECT bool_and(alone), count(*) = count(DISTINCT job) FROM engine_run")
        return db.fetchone() == (True, True)


def busy_worker(clusters: Clusters, name: str, job: Job):  # type: ignore[no-untyped-def]
    """The one with the job's lease thread: it has more than one thread."""
    wait_until(job, "running")
    wait_for(lambda: len(lines_of(job)) > 3)
    return next(child for child in clusters.children(name) if child.num_threads() > 1)


def test_killing_a_worker_or_a_whole_cluster_loses_the_job_and_nothing_else(clusters: Clusters) -> None:
    clusters.start_cluster("doomed", workers=1)
    first = ask("witness", "thing:1", lines=1000, seconds=50)
    busy_worker(clusters, "doomed", first).kill()
    second = ask("witness", "thing:2", lines=1000, seconds=50)
    busy_worker(clusters, "doomed", second)
    clusters.kill("doomed")
    killed_at = time.monotonic()
    following = [ask("witness", subject, lines=10, seconds=0.1) for subject in ("thing:1", "thing:2")]
    clusters.start_cluster("other", workers=2)
    for job in (first, second):
        lost = wait_until(job, "lost", seconds=60 - (time.monotonic() - killed_at))
        assert lost.error == "The worker that ran this was killed. Try again."
        assert lines_of(lost) == numbered(len(lines_of(lost)))
    for job in following:
        assert lines_of(wait_until(job, "succeeded")) == numbered(10)
    assert never_together()


@pytest.fixture
def durable(transactional_db: None) -> None:
    """The tests' server answers before a commit is on disk, which a crash would take back."""
    if not postgres:
        pytest.skip("DATABASE_URL names a server that is not ours to crash")
    with connection.cursor() as db:
        db.execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET synchronous_commit = on")


@pytest.mark.usefixtures("durable")
def test_jobs_outlive_a_crash_of_postgresql_and_lose_no_line(clusters: Clusters) -> None:
    assert postgres
    clusters.start_cluster(workers=3)
    jobs = [ask("witness", f"thing:{number}", lines=1000, seconds=20) for number in range(2)]
    jobs.append(ask("query", "thing:3", seconds=20))
    waiting = ask("witness", "thing:1", lines=10, seconds=0.1)
    for job in jobs:
        wait_until(job, "running")
    time.sleep(1)
    connection.close()
    postgres.restart(crash=True)
    for job in jobs:
        wait_until(job, "succeeded", seconds=60)
    assert [len(lines_of(job)) for job in jobs] == [1000, 1000, 1]
    assert [lines_of(job) == numbered(1000) for job in jobs[:2]] == [True, True]
    wait_until(waiting, "succeeded")
    wait_until(ask("say", text="and on"), "succeeded")
    assert never_together()
