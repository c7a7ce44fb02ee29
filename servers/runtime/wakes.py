"""Waiting for what tells that a server may have printed something: the agent's side, in one epoll.

A wake-up carries no text. The console on disk, or the journal, and the stored cursor are the truth, so a wake-up that
is missed, doubled or a hostile game's own costs a read and nothing else.
"""

import os
import select
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

POLL_EVERY = 0.1  # seconds, for servers that cannot be watched


@dataclass
class Woken:
    """Names of servers that may have new lines: `consoles`, which may be `Wakes.late`, and `readable`, which are not.
    `states`: whether some server's state may have changed."""

    consoles: set[str] = field(default_factory=set)
    readable: set[str] = field(default_factory=set)
    states: bool = False


class Wakes:
    """Wake-ups of one machine's servers. This one knows none and has all of them polled; runtimes' own are better.

    `wait` and `follow` belong to one thread; `ring` may be called from any.
    """

    late = 0.0  # seconds for which a line may not be readable yet after its wake-up

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ringing = threading.Lock()  # the bell's number must not be another file's by the time it is rung
        self._epoll.register(self._bell, select.EPOLLIN)
        self._polled: set[str] = set()
        self._next_poll = 0.0

    def follow(self, names: Iterable[str], live: Iterable[str]) -> set[str]:
        """Watch the states of `names` and the consoles of `live`, which are among them, and nothing else.

        To be repeated now and then: folders come and go. Returns those whose consoles are watched from now on, and so
        have to be read once.
        """
        before, self._polled = self._polled, set(live)
        return self._polled - before

    def ring(self) -> None:
        """End the present or the next `wait`."""
        with self._ringing:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def wait(self, seconds: float) -> Woken:
        """Sleep until something may have happened, `seconds` at most."""
        woken = Woken()
        if self._polled:
            seconds = min(seconds, self._next_poll - time.monotonic())
        for number, _ in self._epoll.poll(max(0.0, seconds)):
            if number == self._bell:
                os.eventfd_read(self._bell)
            else:
                self._ready(number, woken)
        if self._polled and time.monotonic() >= self._next_poll:
            self._next_poll = time.monotonic() + POLL_EVERY
            woken.readable |= self._polled
        return woken

    def close(self) -> None:
        with self._ringing:
            os.close(self._bell)
            self._bell = -1
        self._epoll.close()

    def _ready(self, number: int, woken: Woken) -> None:
        """The descriptor `number` of the epoll is readable: take what it says."""
