"""A cluster's workers as the pusher sees them: one slot each, with an inbox, and what its worker is at.

The pusher takes a row from the database only while a slot is free, so what waits stays where it can still be put in
order. All of it is right again whichever process is killed: a slot is taken while a task lies in its inbox, which
outlives the worker, or while the worker says it is busy, which its successor takes back.
"""

import ctypes
import select
import socket
from contextlib import suppress
from multiprocessing.sharedctypes import RawArray
from typing import Any

from jobs.killsafe import Queue
from jobs.turns import PORTAL, Work

SMALL = 1  # bytes of buffer, which the kernel rounds up: a slot never holds more than one task


class Slots:
    """In the place of django-q2's task queue; `put` for the pusher, an `Inbox` for each worker."""

    def __init__(self, count: int) -> None:
        self.inboxes = [Queue(buffer=SMALL) for _ in range(count)]
        self.busy = RawArray(ctypes.c_bool, count)
        # Written by the pusher before it sends; they mean something while the slot is taken.
        self._members = RawArray(ctypes.c_longlong, count)
        self._bulk = RawArray(ctypes.c_bool, count)
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)

    def __len__(self) -> int:
        return len(self.inboxes)

    def put(self, task: dict[str, Any]) -> None:
        """Give the task to a worker that is free. It says its `member` and whether it is `bulk`, unless an older
        version of the portal made it."""
        number = min(range(len(self)), key=self._is_taken)
        self._members[number], self._bulk[number] = task.get("member", PORTAL), task.get("bulk", False)
        self.inboxes[number].put(task)

    def at_work(self) -> list[Work]:
        """What the workers have, given to them or begun; as many are free as are missing."""
        taken = filter(self._is_taken, range(len(self)))
        return [Work(self._members[number], self._bulk[number]) for number in taken]

    def _is_taken(self, number: int) -> bool:
        # In this order: a worker says that it is busy before it takes the task out of its inbox.
        return not self.inboxes[number].empty() or self.busy[number]

    def ring(self) -> None:
        """Wake the pusher: a worker is free."""
        with suppress(BlockingIOError):  # full of rings that were not heard yet
            self._ringer.send(b".")

    def wait(self, seconds: float, *also: Any) -> None:
        """Until somebody rings or one of `also` can be read, `seconds` at most."""
        select.select([self._bell, *also], [], [], seconds)
        with suppress(BlockingIOError):
            self._bell.recv(4096)

    def drain(self) -> None:
        for inbox in self.inboxes:
            inbox.drain()

    def close(self) -> None:
        for inbox in self.inboxes:
            inbox.close()

    def qsize(self) -> int:
        return sum(inbox.qsize() for inbox in self.inboxes)

    def empty(self) -> bool:
        return self.qsize() == 0


class Inbox:
    """What one worker gets its tasks from."""

    def __init__(self, slots: Slots, number: int) -> None:
        self._slots, self.number = slots, number

    def get(self) -> Any:
        """Wait for a task, or for “STOP”. Asking for one says that the worker is free."""
        queue = self._slots.inboxes[self.number]
        self._slots.busy[self.number] = False
        self._slots.ring()
        queue.wait()
        self._slots.busy[self.number] = True
        return queue.get()
