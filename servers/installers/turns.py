"""Installations that share a tool's folders take turns, over all processes of the machine."""

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from jobs.run import Run


@contextlib.contextmanager
def turn(lock: Path, run: Run) -> Iterator[None]:
    """Hold the file `lock`; whoever has to wait says so in its log and can be cancelled meanwhile."""
    with lock.open("w") as file:
        waiting = False
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if not waiting:
                run.log("Waiting for another installation to finish.")
                waiting = True
            run.check()
            time.sleep(0.2)
        yield
