"""Gives a reader thousands of malformed inputs, and sees that none hangs, none leaks and no other error comes out."""

import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generated import cases

CASES = cases(1000, 10_000)
SECONDS = 5  # of processor time, so that a busy machine does not look like a hang
AGAIN = 500  # of the last inputs, read twice more: what the second time leaves behind is a leak
NUMBERS = (b"\0", b"\xff", b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"9" * 9)
EDGES = (b"", b"../", b"\n", b'"', b"{", *NUMBERS)


class Hangs(BaseException):
    """Not an `Exception`, so that no reader takes it for the input's fault."""


def damaged(*good: bytes, edits: int = 4) -> st.SearchStrategy[bytes]:
    """One of these with some of its bytes changed, cut out or put in."""
    # Drawn as one choice, which is several times as fast as one for each number.
    return st.binary(min_size=1, max_size=1 + 4 * edits).map(
        lambda drawn: _edited(good[drawn[0] % len(good)], drawn[1:])
    )


def _edited(good: bytes, edits: bytes) -> bytes:
    """Four bytes an edit: two say where, one what comes, one how many go: mostly as many, else up to 15 or the rest."""
    data = bytearray(good)
    for high, low, chosen, how in zip(*[iter(edits)] * 4, strict=False):
        put = EDGES[chosen % len(EDGES)] if how & 1 else bytes([chosen])
        at = (high << 8 | low) % (len(data) + 1)
        gone = len(put) if how < 160 else how % 16 if how < 240 else len(data)
        data[at : at + gone] = put
    return bytes(data)


def try_all(read: Callable[..., None], count: int = CASES, **inputs: st.SearchStrategy[Any]) -> None:
    """Call `read`, which lets out no error that is allowed, with `count` inputs drawn from `inputs`."""
    read_so_far, last = 0, deque[dict[str, Any]](maxlen=AGAIN)

    @settings(max_examples=count, deadline=None)
    @given(**inputs)
    def once(**drawn: Any) -> None:
        nonlocal read_so_far
        with in_time():
            read(**drawn)
        read_so_far += 1
        last.append(drawn)

    once()
    assert read_so_far >= count
    left = [_held_after(read, last) for _ in range(2)]
    assert left[1][0] == left[0][0], "descriptors stay open"
    assert left[1][1] - left[0][1] < len(last), "memory is kept for each input"


def _held_after(read: Callable[..., None], inputs: deque[dict[str, Any]]) -> tuple[int, int]:
    """Open descriptors and blocks of memory."""
    for drawn in inputs:
        read(**drawn)
    gc.collect()
    return len(os.listdir("/proc/self/fd")), sys.getallocatedblocks()


class MemoryFile:
    """A file without a disk, which would be most of the time."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("malformed")
        self.path = Path(f"/proc/self/fd/{self._descriptor}")

    def __enter__(self) -> "MemoryFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def hold(self, data: bytes) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)


@contextmanager
def in_time() -> Iterator[None]:
    """Raises `Hangs` after SECONDS of processor time."""

    def give_up(*_: object) -> None:
        raise Hangs(f"still reading after {SECONDS} s")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
