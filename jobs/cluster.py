"""The cluster of a node: django-q2's sentinel, pusher, monitor and workers, made safe to kill.

main ─fork→ sentinel ─fork→ pusher (Broker.dequeue → Slots), workers (Slots → run_job), monitor.
Each dies with its parent, so kill -9 of any one leaves nobody working on unseen. The sentinel replaces what it
started; without a sentinel the main process ends, for its supervisor to start it again.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from django.db import connection, connections
from django_q.cluster import Sentinel as QSentinel
from django_q.worker import worker as work

from jobs import lease, reaper, registry
from jobs.broker import Broker
from jobs.killsafe import Flag, Queue, Timer, die_with_parent
from jobs.slots import Inbox, Slots
from jobs.supervision import tell_ready

AFTERWARDS = 10.0  # seconds a worker is given to end a job that is told to stop (lease.GRACE_AT_SHUTDOWN)
STOP_LIMIT = 15.0  # what the rest of a stop may take
LARGE = 2**20  # bytes of buffer: results must not hold workers up
FORK = multiprocessing.get_context("fork")
log = logging.getLogger(__name__)


def run(*, node: str, workers: int, patience: float) -> int:
    """Serve the node's queue until SIGTERM or SIGINT; the exit code, which is 1 when the sentinel died.

    `patience`: seconds that running jobs are then given to finish.
    """
    stop, reaper_stop = Flag(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry.load()  # before the forks, so that no first job waits for imports
    connections.close_all()
    sentinel = FORK.Process(target=_sentinel, args=(os.getpid(), stop, Broker(node), workers, patience))
    sentinel.start()
    reaping = threading.Thread(target=reaper.run_forever, args=(reaper_stop,), name="reaper", daemon=True)
    reaping.start()
    _watch(sentinel, stop, patience + AFTERWARDS + STOP_LIMIT)
    reaper_stop.set()
    reaping.join(5)
    return 0 if stop.is_set() and sentinel.exitcode == 0 else 1


def _watch(sentinel: BaseProcess, stop: Flag, seconds: float) -> None:
    """Wait for the sentinel's end, which after `stop` may take that many seconds."""
    limit = None
    while sentinel.is_alive():
        sentinel.join(0.5)
        if sentinel.is_alive():
            tell_ready()
        if stop.is_set():
            limit = limit or time.monotonic() + seconds
            if time.monotonic() > limit:
                log.error("The sentinel does not stop; it is killed, and its children with it")
                sentinel.kill()


def _sentinel(parent: int, stop: Flag, broker: Broker, workers: int, patience: float) -> None:
    try:
        die_with_parent(parent)
        Sentinel(stop, broker, workers, patience)
    except BaseException:
        log.exception("The sentinel failed")
        os._exit(1)  # at once: multiprocessing's own way out would wait for children that wait for work


class Sentinel(QSentinel):
    """Starts the pool and replaces what dies of it. As in django-q2, its life is its constructor."""

    def __init__(self, stop: Flag, broker: Broker, workers: int, patience: float) -> None:
        super().__init__(stop, Flag(), uuid.uuid4(), broker, start=False)  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        self.pool_size, self.patience = workers, patience
        self.task_queue: Slots = Slots(workers)  # type: ignore[assignment]
        broker.slots = self.task_queue
        self.result_queue: Queue = Queue(buffer=LARGE)  # type: ignore[assignment]
        self.event_out: Flag = Flag()  # type: ignore[assignment]
        self.start()  # type: ignore[no-untyped-call]

    def spawn_process(self, target: Callable[..., None], *args: Any) -> Any:
        process: Any = FORK.Process(target=_child, args=(os.getpid(), target, *args))
        if target == work:
            process.inbox, process.timer = args[0], args[2]
            self.pool.append(process)
        process.start()
        return process

    def spawn_worker(self) -> None:
        """In the first slot that has none: django-q2 has taken a dead one out of the pool."""
        manned = [process.inbox.number for process in self.pool]
        number = next(number for number in range(self.pool_size) if number not in manned)
        self.spawn_process(work, Inbox(self.task_queue, number), self.result_queue, Timer(), self.timeout)

    def stop(self) -> None:
        """Take no more work, give what runs its time, then end it. Each step is bounded."""
        self.event_out.set()
        _end([self.pusher], patience=3)
        self.task_queue.drain()  # their rows are free again in a few seconds
        self.task_queue.close()
        _wait(self.pool, self.patience)
        for process in self.pool:
            process.terminate()
        _end(self.pool, patience=AFTERWARDS)
        self.result_queue.close()
        _end([self.monitor], patience=5)


def _child(parent: int, target: Callable[..., None], *args: Any) -> None:
    die_with_parent(parent)
    # A handler that does nothing, since programs started from here would inherit SIG_IGN.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _shut_down)
    lease.session = connection.copy()
    lease.session.inc_thread_sharing()
    target(*args)


def _shut_down(_signal: int, _frame: FrameType | None) -> None:
    lease.shutting_down = True


def _wait(processes: Iterable[Any], seconds: float) -> None:
    limit = time.monotonic() + seconds
    for process in processes:
        process.join(max(0.0, limit - time.monotonic()))


def _end(processes: Iterable[Any], *, patience: float) -> None:
    _wait(processes, patience)
    for process in processes:
        process.kill()
        process.join()
