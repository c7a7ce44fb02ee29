"""What a cluster's processes share, made so that SIGKILL to any of them leaves the others able to go on.

django-q2 uses multiprocessing's queues, values and events, whose locks stay locked when their holder is killed: an
idle worker waits for its task with the queue's lock held, so killing it starves every other worker.
"""

import ctypes
import fcntl
import os
import pickle
import signal
import socket
import struct
import termios
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing.sharedctypes import RawValue
from typing import Any

MAX_MESSAGE = 2**20
PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


class Queue:
    """Messages from any process to whichever reader is free. The kernel hands each to exactly one, whole."""

    def __init__(self, *, buffer: int) -> None:
        """`buffer`: bytes of the socket's buffer. The kernel rounds it up to 4.5 KiB."""
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)

    def put(self, message: Any) -> None:
        """Send, once the readers have taken so much that it fits."""
        self._writer.sendall(pickle.dumps(message))

    def wait(self) -> None:
        """Wait for a message, or for the end, and leave it there."""
        self._reader.recv(1, socket.MSG_PEEK)

    def get(self) -> Any:
        """Wait for a message; “STOP”, which ends django-q2's loops, once the queue is closed and empty."""
        message = self._reader.recv(MAX_MESSAGE)
        return pickle.loads(message) if message else "STOP"  # noqa: S301  from our own processes

    def drain(self) -> None:
        """Throw away what nobody has read."""
        with suppress(BlockingIOError):
            while self._reader.recv(MAX_MESSAGE, socket.MSG_DONTWAIT):
                pass

    def close(self) -> None:
        """Let no process write any more; readers get what is left, then “STOP”."""
        self._writer.shutdown(socket.SHUT_WR)

    def qsize(self) -> int:
        """Bytes not yet read (SIOCOUTQ, tcp(7)): for django-q2's statistics as good as a number of messages."""
        return int(struct.unpack("i", fcntl.ioctl(self._writer, termios.TIOCOUTQ, bytes(4)))[0])

    def empty(self) -> bool:
        return self.qsize() == 0


class Timer:
    """What a worker tells the sentinel: how long its task may go on, or that it is idle (-1). Needs no lock."""

    def __init__(self) -> None:
        self._value = RawValue(ctypes.c_float, -1)

    @property
    def value(self) -> float:
        return float(self._value.value)

    @value.setter
    def value(self, seconds: float) -> None:
        self._value.value = seconds

    def get_lock(self) -> AbstractContextManager[None]:
        return nullcontext()


class Flag:
    """An event without a lock; whoever waits looks at it."""

    def __init__(self) -> None:
        self._value = RawValue(ctypes.c_bool, False)

    def set(self) -> None:
        self._value.value = True

    def is_set(self) -> bool:
        return bool(self._value.value)

    def wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return self.is_set()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, which forked it, ends (prctl(2), PR_SET_PDEATHSIG)."""
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
