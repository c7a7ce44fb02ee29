"""Job kinds that do what a test of the engine needs, and note in the table `engine_run` when they ran."""

import time

from django.db import connection

from jobs.registry import job_kind
from jobs.run import Run


@job_kind("test.say")
def say(run: Run, *, text: str) -> None:
    run.log(text)


@job_kind("test.count")
def count(run: Run, *, lines: int, seconds: float) -> None:
    """Numbered lines, evenly over `seconds`."""
    with noted(run):
        for number in range(lines):
            run.log(f"line {number}")
            time.sleep(seconds / lines)
            run.check()
