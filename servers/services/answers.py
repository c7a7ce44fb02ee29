"""Wakes the threads of this process that wait for the answer to a command, once it is there."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import connection

CHANNEL = "left4me_answers"
log = logging.getLogger(__name__)


class Answers:
    """One session of the database listens for all of them, for as long as there are any.

    A wake-up can be lost with the session, so whoever waits also looks by themselves now and then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[int, threading.Event] = {}
        self._listens = False

    @contextmanager
    def expected(self, number: int) -> Iterator[threading.Event]:
        """An event that is set when the request of that number is answered."""
        with self._lock:
            event = self._expected[number] = threading.Event()
            if not self._listens:
                self._listens = True
                threading.Thread(target=self._run, name="answers", daemon=True).start()
        try:
            yield event
        finally:
            with self._lock:
                del self._expected[number]

    def _run(self) -> None:
        while True:
            try:
                self._listen()
                return
            except Exception as error:
                log.warning("Nobody is woken for answers at the moment: %s", str(error).strip())
                if not self._is_needed():
                    return
                time.sleep(0.5)

    def _listen(self) -> None:
        with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
            session.execute(f"LISTEN {CHANNEL}")
            for number in [*self._expected]:
                self._wake(number)  # whatever was answered before this listened
            while self._is_needed():
                for notice in session.notifies(timeout=1, stop_after=1):
                    self._wake(int(notice.payload))

    def _is_needed(self) -> bool:
        """Whether somebody waits. If not this thread ends, and the next to wait starts another."""
        with self._lock:
            self._listens = bool(self._expected)
            return self._listens

    def _wake(self, number: int) -> None:
        with self._lock:
            if event := self._expected.get(number):
                event.set()


answers = Answers()
