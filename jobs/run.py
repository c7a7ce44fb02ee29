"""The handle a job kind is given: where it says what it does, runs programs, and hears that it must stop."""

import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db import connection
from django.utils import timezone

from jobs import process, streams
from jobs.models import Job
from jobs.registry import JobError

MAX_BUFFERED = 1000  # lines that wait to be stored; more make the job wait


class Cancelled(BaseException):
    """The job must stop. Not an `Exception`, so that a handler's `except Exception` does not go on regardless."""


@dataclass(frozen=True)
class Ending:
    """What a job ends as, and how long a handler that is still at it is given to stop by itself."""

    state: Job.State
    error: str = ""
    grace: float = 10.0  # seconds until it is interrupted, and again until its process is ended
    since: float = field(default_factory=time.monotonic)


class Run:
    """One run of one job. The lease (jobs/lease.py) empties `buffer`, stores `percent` and sets `stop`."""

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self.buffer: deque[tuple[datetime, str]] = deque()
        self.percent: int | None = None
        self.stop: Ending | None = None
        self.reconnected = False
        self._thread = threading.get_ident()

    def log(self, text: str) -> None:
        """Add lines to the job's log. Waits while a thousand are still to be stored."""
        for line in streams.clean(text):
            while len(self.buffer) >= MAX_BUFFERED:
                time.sleep(0.01)
            self.buffer.append((timezone.now(), line))

    def progress(self, percent: float) -> None:
        """Say how much is done, 0 to 100."""
        self.percent = max(0, min(100, int(percent)))

    def check(self) -> None:
        """Raise `Cancelled` if the job must stop. Call it at least once a second; `call` does."""
        if self.stop:
            raise Cancelled(self.stop.error)
        if self.reconnected and threading.get_ident() == self._thread and not connection.in_atomic_block:
            # The database was restarted: the handler's own connection is as dead as the lease's was.
            self.reconnected = False
            connection.close()

    def call(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ok: Sequence[int] = (0,),
    ) -> int:
        """Run a program whose lines become the job's; returns its exit code, which must be in `ok`.

        `timeout`: seconds. `env`: on top of a harmless part of ours. Raises `JobError`, or `Cancelled` once the
        program's process group has been ended.
        """
        self.check()
        code = process.run(argv, timeout=timeout, env=env, cwd=cwd, on_line=self.log, check=self.check).code
        if code not in ok:
            raise JobError(f"{Path(argv[0]).name} ended with code {code}. The lines above say why.")
        return code
