"""Job kinds that do what a test of the engine needs, and witness that nobody else works on their subject."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from django.db import connection

from jobs.models import Job
from jobs.registry import JobError, job_kind
from jobs.run import Run

WITNESS = "LEFT4ME_TEST_WITNESS"  # a folder: one file a subject, locked by whoever works on it


@job_kind("test.say", quick=True)
def say(run: Run, *, text: str) -> None:
    run.log(text)


@job_kind("test.stamp", quick=True)
def stamp(run: Run, *, began: int) -> None:
    run.log(str(since(began)))


def since(began: int) -> float:
    """Milliseconds since that reading of the monotonic clock, in nanoseconds, which all processes share."""
    return (time.monotonic_ns() - began) / 1e6


@job_kind("test.count", quick=True)
def count(run: Run, *, lines: int, seconds: float) -> None:
    """Numbered lines, evenly over `seconds`; well behaved."""
    for number in range(lines):
        run.log(f"line {number}")
        time.sleep(seconds / lines)
        run.check()


@job_kind("test.witness", quick=True)
def witness(run: Run, *, lines: int, seconds: float) -> None:
    """The same, and sees whether anybody else works on its subject at that time."""
    with alone(run):
        count(run, lines=lines, seconds=seconds)


@job_kind("test.bulk")
def bulk(run: Run, *, lines: int, seconds: float) -> None:
    """As `count`, of the class that never has every worker."""
    count(run, lines=lines, seconds=seconds)


@job_kind("test.halfway", quick=True)
def halfway(run: Run) -> None:
    for percent in (10, 50.5):
        run.progress(percent)


@job_kind("test.deaf", quick=True)
def deaf(run: Run) -> None:
    """Never asks whether it should stop, but an interrupt ends it."""
    run.log("cannot hear you")
    time.sleep(60)


@job_kind("test.stubborn", retryable=False, quick=True)
def stubborn(run: Run) -> None:
    """Does not even mind an interrupt."""
    run.log("will not stop")
    for _ in range(600):
        with contextlib.suppress(BaseException):
            time.sleep(0.1)


@job_kind("test.refuse", quick=True)
def refuse(run: Run) -> None:
    raise JobError("The disk is full. Delete something, then try again.")


@job_kind("test.crash", quick=True)
def crash(run: Run) -> None:
    raise ZeroDivisionError("one by none")


@job_kind("test.program", quick=True)
def program(run: Run, *, argv: list[str], timeout: float = 30) -> None:
    run.call(argv, timeout=timeout)


@job_kind("test.query", time_limit=60, quick=True)
def query(run: Run, *, seconds: float) -> None:
    """Uses the database before and after a while, as most jobs do."""
    Job.objects.get(pk=run.job_id)
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        time.sleep(0.1)
        run.check()
    run.log(Job.objects.get(pk=run.job_id).title)


@contextlib.contextmanager
def alone(run: Run) -> Iterator[None]:
    """Note in the table `engine_run` when this ran, and whether it had the subject to itself.

    The witness is a file lock, which the kernel drops at the very moment its holder dies.
    """
    subject = Job.objects.values_list("subject", flat=True).get(pk=run.job_id)
    with Path(os.environ[WITNESS], subject.replace(":", "-")).open("w") as file, connection.cursor() as db:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            db.execute("INSERT INTO engine_run (job, subject, alone) VALUES (%s, %s, false)", [run.job_id, subject])
            raise
        db.execute("INSERT INTO engine_run (job, subject, alone) VALUES (%s, %s, true)", [run.job_id, subject])
        yield
    with connection.cursor() as db:
        db.execute("UPDATE engine_run SET ended = clock_timestamp() WHERE job = %s", [run.job_id])
