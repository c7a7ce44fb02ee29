"""A thread that repeats one step: a failing step is logged and tried again, so the agent outlives its database."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import OperationalError, connection

log = logging.getLogger(__name__)
LONGEST_PAUSE = 5.0  # seconds between attempts while a step fails


class Loop(threading.Thread):
    """Calls `step` every `every` seconds while `may_run` is set, sooner when woken, until `stop`."""

    def __init__(self, name: str, step: Callable[[], None], every: float, may_run: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.step, self.every, self.may_run = step, every, may_run
        self.last_success = time.monotonic()
        self._wake = threading.Event()
        self._stopping = False
        self._failures = 0

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        while not self._stopping:
            if self.may_run.wait(0.5) and not self._stopping:
                self._attempt()
                self._wake.wait(self.every if not self._failures else min(LONGEST_PAUSE, 0.5 * self._failures))
                self._wake.clear()
        connection.close()

    def _attempt(self) -> None:
        try:
            self.step()
            self.last_success = time.monotonic()
            self._failures = 0
        except Exception as error:
            self._failures += 1
            if isinstance(error, OperationalError):
                log.warning("%s: the database is away (%s)", self.name, str(error).strip())
            else:
                log.exception("%s failed, attempt %d", self.name, self._failures)
            connection.close()
