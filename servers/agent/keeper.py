"""The agent's main thread: holds the node's lock, listens for presses, and keeps the loops going until SIGTERM."""

import logging
import threading
import time

import psycopg
from django.db import connection

from jobs import events, reaper
from jobs.supervision import tell_ready
from servers.agent.commands import Commands
from servers.agent.housekeeping import Housekeeping
from servers.agent.loop import Loop
from servers.agent.measuring import Measuring
from servers.agent.queries import Queries
from servers.agent.sampling import EVERY, Sampling
from servers.agent.waiting import Waiting
from servers.agent.watch import Watch
from servers.models import Node
from servers.services.sending import commands_topic

log = logging.getLogger(__name__)
LOCK = 0x6C346701  # class of the advisory lock; the node's number is its key
PATIENCE = 5.0  # seconds: the session of an agent just killed may still be ending


class AlreadyRunning(Exception):
    """Another agent of this node holds the lock."""

    def __init__(self, node: Node) -> None:
        super().__init__(f"An agent of the node {node.slug} runs already. Stop it first.")


class Agent:
    """Watches the games of `node`. `run` returns after `stop`, or raises `AlreadyRunning`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._stopping = threading.Event()
        self._ours = threading.Event()  # set while the lock is held: the loops rest otherwise
        watch = Watch(node)
        self.watch = Loop("watch", watch.step, 1, self._ours, bell=watch)
        self._queries = Queries(node)
        self.queries = Loop("queries", self._queries.step, 0.5, self._ours, bell=self._queries)
        self.housekeeping = Loop("housekeeping", Housekeeping(node, self.watch).step, 5, self._ours)
        self.waiting = Loop("waiting", Waiting(node).step, 1, self._ours)
        self._commands = Commands(node)
        self.commands = Loop("commands", self._commands.step, 1, self._ours, bell=self._commands)
        self.sampling = Loop("sampling", Sampling(node).step, EVERY, self._ours)
        self.measuring = Loop("measuring", Measuring(node).step, 1, self._ours)
        self._scan_soon, self._start_over = watch.scan_soon, watch.start_over

    def stop(self, *_: object) -> None:
        self._stopping.set()

    def run(self) -> None:
        loops = [
            self.watch,
            self.queries,
            self.housekeeping,
            self.waiting,
            self.commands,
            self.sampling,
            self.measuring,
        ]
        reaping = threading.Thread(target=reaper.run_forever, args=(self._stopping,), name="reaper", daemon=True)
        for thread in (*loops, reaping):
            thread.start()
        try:
            while not self._stopping.is_set():
                self._hold()
        finally:
            self._stopping.set()
            for loop in loops:
                loop.stop()
            for thread in (*loops, reaping):
                thread.join(10)
            self._commands.close()
            self._queries.close()

    def _hold(self) -> None:
        """Hold the lock for as long as its session lives; a lost session is opened again."""
        try:
            with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
                self._take(session)
                session.execute(f"LISTEN {events.CHANNEL}")
                self._start_over()
                self._ours.set()
                tell_ready()
                self._listen(session)
        except psycopg.OperationalError as error:
            log.warning("The database is away (%s). Trying again.", str(error).strip())
            self._stopping.wait(1)
        finally:
            self._ours.clear()

    def _take(self, session: "psycopg.Connection[tuple[object, ...]]") -> None:
        limit = time.monotonic() + PATIENCE
        while not session.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, self.node.pk]).fetchone()[0]:  # type: ignore[index]
            if time.monotonic() > limit or self._stopping.wait(0.2):
                raise AlreadyRunning(self.node)

    def _listen(self, session: "psycopg.Connection[tuple[object, ...]]") -> None:
        while not self._stopping.is_set():
            for notice in session.notifies(timeout=0.5, stop_after=1):
                if notice.payload == commands_topic(self.node):
                    self._commands.ring()
                elif notice.payload.startswith("server:"):
                    self._scan_soon()
            session.execute("SELECT 1")  # notices a lost session
