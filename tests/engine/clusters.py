"""Clusters of the engine's tests: real `manage.py cluster` processes that know the test kinds."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection

from jobs.models import Job
from jobs.services import enqueue
from tests.engine import tasks
from tests.stack import Stack, wait_for

CREATE = """
CREATE TABLE engine_run (
    id bigserial PRIMARY KEY, job bigint, subject text, alone boolean,
    began timestamptz DEFAULT clock_timestamp(), ended timestamptz
)
"""


class Clusters(Stack):
    """Start with `start_cluster`; kill what you like."""

    def __init__(self, folder: Path) -> None:
        witness = folder / "witness"
        witness.mkdir()
        super().__init__(folder, DJANGO_SETTINGS_MODULE="tests.engine_settings", **{tasks.WITNESS: str(witness)})

    def start_cluster(self, name: str = "cluster", *, workers: int = 2, patience: float = 20) -> None:
        self.start("cluster", "--workers", str(workers), "--patience", str(patience), name=name)

    def children(self, name: str) -> list[psutil.Process]:
        """The pusher, the monitor and the workers of a cluster, as far as they live."""
        sentinels = psutil.Process(self.processes[name].pid).children()
        return [child for sentinel in sentinels for child in sentinel.children()]


def ask(kind: str, subject: str = "thing:1", **options: Any) -> Job:
    """Enqueue `test.KIND` for this node."""
    args = {name: options.pop(name) for name in set(options) & {"text", "lines", "seconds", "argv", "timeout", "began"}}
    title = options.pop("title", f"{kind} {subject}")
    return enqueue(kind=f"test.{kind}", subject=subject, title=title, args=args, node="local", **options)


def state_of(job: Job) -> str:
    return str(Job.objects.values_list("state", flat=True).get(pk=job.pk))


def wait_until(job: Job, *states: str, seconds: float = 40) -> Job:
    """Wait until the job is in one of `states`, or over; the job as it is then."""
    over = {*states, "succeeded", "failed", "cancelled", "lost"}
    wait_for(lambda: state_of(job) in over, seconds=seconds, what=f"job {job.pk} being {' or '.join(states)}")
    job = Job.objects.get(pk=job.pk)
    assert job.state in states, f"{job.kind} is {job.state}: {job.error}"
    return job


def lines_of(job: Job) -> list[str]:
    return list(job.stream.lines.order_by("seq").values_list("text", flat=True))


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def clusters(transactional_db: None, tmp_path: Path) -> Iterator[Clusters]:
    with connection.cursor() as db:
        db.execute(CREATE)
    try:
        with Clusters(tmp_path) as made:
            yield made
    finally:
        with connection.cursor() as db:
            db.execute("DROP TABLE engine_run")
