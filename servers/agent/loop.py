"""A thread that repeats one step: a failing step is logged and tried again, so the agent outlives its database."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from django.db import OperationalError, connection

log = logging.getLogger(__name__)
LONGEST_PAUSE = 5.0  # seconds between attempts while a step fails


class Bell(Protocol):
    """Something to sleep on."""

    def wait(self, seconds: float, /) -> object:
        """Until there is something to do, `seconds` at most."""

    def ring(self) -> None:
        """End a `wait`; from any thread."""


class Loop(threading.Thread):
    """Calls `step` every `every` seconds while `may_run` is set, sooner when `bell` says so, until `stop`."""

    def __init__(
        self, name: str, step: Callable[[], None], every: float, may_run: threading.Event, bell: Bell | None = None
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.step, self.every, self.may_run, self.bell = step, every, may_run, bell
        self.last_success = time.monotonic()
        self._stopping = threading.Event()
        self._failures = 0

    def stop(self) -> None:
        self._stopping.set()
        if self.bell:
            self.bell.ring()

    def run(self) -> None:
        while not self._stopping.is_set():
            if self.may_run.wait(0.5) and not self._stopping.is_set():
                self._attempt(self.step)
                if self._failures or not self.bell:
                    self._stopping.wait(min(LONGEST_PAUSE, 0.5 * self._failures) if self._failures else self.every)
                else:
                    self._attempt(partial(self.bell.wait, self.every))
        connection.close()

    def _attempt(self, step: Callable[[], object]) -> None:
        try:
            step()
            self.last_success = time.monotonic()
            self._failures = 0
        except Exception as error:
            self._failures += 1
            if isinstance(error, OperationalError):
                log.warning("%s: the database is away (%s)", self.name, str(error).strip())
            else:
                log.exception("%s failed, attempt %d", self.name, self._failures)
            connection.close()
