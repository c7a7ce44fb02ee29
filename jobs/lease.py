"""The second thread of a running job: it alone tells the database about the job, until the job is in a final state.

It holds the job's lock, beats, stores lines and progress, and sees that the job stops when it must: by asking, then
by an interrupt, then by ending the process. Behind it stands the kernel's alarm, wound up by every beat: if none can
be written for `ALARM` seconds, whatever either thread hangs in, the process dies before the reaper
(`reaper.LOST_AFTER`) lets somebody else work on the subject.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from datetime import datetime
from types import FrameType

from django.db import DEFAULT_DB_ALIAS, DataError, Error, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs import events, process, streams
from jobs.locks import hold_job, release_job
from jobs.models import Job, Stream
from jobs.run import Cancelled, Ending, Run
from jobs.transitions import end, topic

TICK = 0.04  # seconds a line waits at most before it is stored
BEAT = 1.0
PROGRESS = 0.25  # seconds between two beats made early to tell of progress
BACKOFF = 0.5  # between attempts to reach the database
FENCE = 20.0  # without a beat, stop: the database may soon think us dead
ALARM = 25
GRACE = 10.0
GRACE_AT_SHUTDOWN = 3.0
LINGER = 600.0  # how long the result of a job that is over waits for the database
BATCH = 1000
INTERRUPT = signal.SIGUSR1
# A node that loses power sends no goodbye: let the server notice within half a minute, and drop the job's lock.
KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
BEAT_SQL = """
UPDATE jobs_job SET beat_at = now(), progress = COALESCE(%s, progress) WHERE id = %s AND state = 'running'
RETURNING cancel_requested_at
"""
log = logging.getLogger(__name__)
# Set in a cluster's workers (jobs/cluster.py): running jobs have had their time; and the session that the leases of
# one worker use in turn, since a new one for each job costs more than the rest of a short job.
shutting_down = False
session: BaseDatabaseWrapper | None = None


class Lease(threading.Thread):
    """Made by the main thread when it has claimed the job; ends with `finish`."""

    def __init__(self, job: Job, run: Run) -> None:
        super().__init__(name=f"lease of job {job.pk}", daemon=True)
        self.job, self.handle = job, run
        self._main = threading.get_ident()
        self._working = True  # the main thread is in the handler
        self._result: Ending | None = None
        self._finished = threading.Event()
        self._over = self._held = self._taken = self._cancelled = self._uncertain = self._interrupted = False
        self._deadline = time.monotonic() + job.time_limit
        self._beat_at = self._next_try = 0.0
        self._alive_at = _now()
        self._batch: list[tuple[datetime, str]] = []
        self._batches = 0
        self._percent: int | None = None

    def begin(self) -> None:
        signal.signal(INTERRUPT, self._interrupt)
        signal.alarm(ALARM)
        self.start()

    def disarm(self) -> None:
        """The handler is over: from here on neither interrupt nor alarm."""
        self._working = False
        signal.alarm(0)

    def finish(self, result: Ending) -> None:
        """Have the last lines stored and the job ended; returns when that is done or the database stayed away."""
        self.disarm()
        self._result = result
        self._finished.set()
        self.join()

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Runs in the main thread, so it cannot come between the end of the handler and `disarm`."""
        if self._working:
            raise Cancelled

    def run(self) -> None:
        if session:
            connections[DEFAULT_DB_ALIAS] = session
        try:
            while not self._over:
                if self._finished.wait(TICK):
                    time.sleep(max(0.0, self._next_try - time.monotonic()))
                self._talk()
                self._supervise()
        finally:
            if not (session and self._over):  # after a fault of ours nobody may go on holding the job
                connection.close()

    def _talk(self) -> None:
        """One round with the database; if it cannot be reached, the next one starts with a new connection."""
        if time.monotonic() < self._next_try:
            return
        try:
            self._hold()
            self._beat()
            self._store()
            if self._result:
                end(self.job, self._result.state, self._result.error)
                if self._held:
                    release_job(self.job.pk)
                self._over = True
        except Error as error:
            log.warning("Job %s: no database, trying again: %s", self.job.pk, str(error).strip())
            self._next_try = time.monotonic() + BACKOFF
            self._held = False
            self._uncertain = bool(self._batch)
            self.handle.reconnected = True
            with contextlib.suppress(Error):
                connection.close()

    def _hold(self) -> None:
        """Take the job's lock again in each new session. It is not free until the server has dropped the old one."""
        if not self._held:
            if not connection.connection:
                with connection.cursor() as db:
                    db.execute(KEEPALIVE)
            self._held = hold_job(self.job.pk)

    def _beat(self) -> None:
        percent, now = self.handle.percent, _now()
        pause = BEAT if percent == self._percent else 0 if self._result else PROGRESS
        if now - self._beat_at < pause:
            return
        with connection.cursor() as db:
            db.execute(BEAT_SQL, [percent, self.job.pk])
            row = db.fetchone()
        self._taken, self._cancelled = row is None, bool(row and row[0])
        if percent != self._percent:
            events.publish(self.job.subject, topic(self.job.pk))
        self._beat_at, self._percent = now, percent
        if not self._taken:
            self._alive_at = now
            self._wind_up()

    def _wind_up(self) -> None:
        signal.alarm(ALARM)
        if not self._working:  # `disarm` was a moment faster
            signal.alarm(0)

    def _store(self) -> None:
        """Store a batch of lines, or all when the job is over: each exactly once, also when an answer was lost."""
        while True:
            if not self._batch:
                self._batches += 1
                while self.handle.buffer and len(self._batch) < BATCH:
                    self._batch.append(self.handle.buffer.popleft())
            if not self._batch:
                return
            if not (self._uncertain and self._was_stored()):
                self._append()
            self._batch, self._uncertain = [], False
            if not self._result:
                return

    def _append(self) -> None:
        times, lines = zip(*self._batch, strict=True)
        try:
            streams.append(self.job.stream_id, lines, at=times, cursor=str(self._batches))
        except DataError:
            log.exception("Job %s: lines the database refuses", self.job.pk)
            streams.append(
                self.job.stream_id, [f"({len(lines)} lines could not be stored.)"], cursor=str(self._batches)
            )

    def _was_stored(self) -> bool:
        """Whether the batch whose answer was lost is there: the cursor commits with the lines, under the row's lock."""
        with transaction.atomic():
            return Stream.objects.select_for_update().get(pk=self.job.stream_id).cursor == str(self._batches)

    def _supervise(self) -> None:
        """See to it that the handler ends when it must. Touches no database."""
        if self._result:
            self._over = self._over or _now() - self._alive_at > LINGER
            return
        reason = self._reason()
        if reason and (not self.handle.stop or reason.grace < self.handle.stop.grace):
            self.handle.stop = reason
        if self.handle.stop:
            self._enforce(self.handle.stop)

    def _reason(self) -> Ending | None:
        """Why the job must stop now, the most pressing reason first."""
        if self._taken or _now() - self._alive_at > FENCE:
            return Ending(Job.State.LOST, "The database could not be reached for too long. Try again.", grace=0)
        if shutting_down:
            sentence = "The worker was shut down before this was done. Try again."
            return Ending(Job.State.CANCELLED, sentence, grace=GRACE_AT_SHUTDOWN)
        if self._cancelled:
            return Ending(Job.State.CANCELLED, "Cancelled while it ran.", grace=GRACE)
        if time.monotonic() > self._deadline:
            sentence = f"It took longer than {self.job.time_limit} seconds and was stopped. Try again, or ask an admin."
            return Ending(Job.State.FAILED, sentence, grace=GRACE)
        return None

    def _enforce(self, ending: Ending) -> None:
        waited = time.monotonic() - ending.since
        if waited > ending.grace and not self._interrupted:
            self._interrupted = True
            signal.pthread_kill(self._main, INTERRUPT)
        if waited > ending.grace + max(ending.grace, GRACE_AT_SHUTDOWN):
            self._end_process(ending)

    def _end_process(self, ending: Ending) -> None:
        """The handler does not even mind an interrupt. The cluster replaces the process."""
        log.error("Job %s does not stop; this worker ends itself", self.job.pk)
        process.kill_all()
        self._result = ending
        self._talk()
        os._exit(70)


def _now() -> float:
    """Seconds on a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
