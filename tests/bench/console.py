"""From what a game prints to its viewers: how late a line is end to end, and what the agent costs.

A real keeper runs a game whose lines begin with the time they were printed at; a real agent stores them, a web process
sends them on.
"""

import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.figure import Figure, latencies
from tests.bench.scale import scaled

if TYPE_CHECKING:
    from servers.runtime.base import Runtime
    from tests.load.portal import Site
    from tests.stack import Stack

# The agent reads consoles a little longer than they live; then the first rounds of all its duties are over as well.
SECONDS, IDLE_AFTER, IDLE_SECONDS = scaled((10, 12, 15), (2, 0, 1))
BATCHES, LINES = 5, 10  # a second, and lines a batch
VIEWERS, IDLE_SERVERS = scaled((1000, (0, 1, 20)), (20, (0, 2)))
GAME = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit())
while True:
    for number in range({lines}):
        print(time.monotonic_ns(), "Player", number, "picked up a first aid kit near the safe room", flush=True)
    time.sleep(1 / {batches})
"""
FLOOD = """
import sys, time
lines = "".join(f"a line of a hundred thousand in each second, number {n} of ten thousand\\n" for n in range(10_000))
while True:
    began = time.monotonic()
    sys.stdout.write(lines)
    sys.stdout.flush()
    time.sleep(max(0, began + 0.1 - time.monotonic()))
"""


def figures() -> Iterator[Figure]:
    from tests.load.portal import Site  # needs Django set up

    site = Site()
    yield from _idle(site)
    yield from _end_to_end(site)
    yield from _beside_a_flood(site)


@contextmanager
def _games(site: "Site") -> Iterator[tuple[Any, "Stack"]]:
    """A function that makes a running server of a program and returns its stream, and processes that know of it."""
    from django.test import override_settings

    from servers.models import Server
    from servers.runtime import get_runtime
    from servers.runtime.base import ServerSpec
    from tests.stack import Stack

    started: list[str] = []
    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as folder, override_settings(STATE_DIR=Path(folder, "s")):
        get_runtime.cache_clear()
        runtime: Runtime = get_runtime()
        Path(folder, "layer").mkdir()

        def play(program: str) -> int:
            stream = site.stream()
            name = Server.objects.get(console=stream).name
            argv = (os.path.realpath(sys.executable), "-I", "-S", "-c", program)
            started.append(name)
            runtime.start(ServerSpec(name=name, layers=(Path(folder, "layer"),), argv=argv))
            return stream

        try:
            with Stack(Path(folder), LEFT4ME_STATE=str(Path(folder, "s"))) as stack:
                yield play, stack
        finally:
            for name in started:
                runtime.stop(name, timeout=0)
            Server.objects.filter(name__in=started).delete()
            get_runtime.cache_clear()


def _idle(site: "Site") -> Iterator[Figure]:
    """What an agent costs while nothing happens."""
    from tests.load.processes import cpu

    for count in IDLE_SERVERS:
        with _games(site) as (play, stack):
            for _ in range(count):
                play("import time; time.sleep(1000)")
            agent = stack.start("agent")
            _seen_running(site, count)
            time.sleep(IDLE_AFTER)
            began, used = time.monotonic(), cpu(agent.pid)
            time.sleep(IDLE_SECONDS)
            share = (cpu(agent.pid) - used) / (time.monotonic() - began)
        yield Figure(f"console.agent_idle_cpu_{count}_servers", share * 100, "%_of_a_core")


def _seen_running(site: "Site", count: int) -> None:
    from servers.models import Node, Server
    from tests.stack import wait_for

    running = Server.objects.filter(owner=site.user, unit="running")
    seen = Node.objects.filter(pk=site.node.pk).exclude(agent_seen_at=None)
    wait_for(lambda: seen.exists() and running.count() == count, seconds=60, what="the agent seeing the servers")


def _end_to_end(site: "Site") -> Iterator[Figure]:
    from jobs.models import Stream
    from tests.load.processes import cpu

    name = f"console.end_to_end_{VIEWERS}_viewers"
    with _games(site) as (play, stack):
        stream = play(GAME.format(lines=LINES, batches=BATCHES))
        agent = stack.start("agent")
        _seen_running(site, 1)
        with site.run(VIEWERS, [stream]) as running:
            running.client.ask("watch")
            used = cpu(agent.pid)
            committed = _committed(stream)
            used = cpu(agent.pid) - used
            target = Stream.objects.get(pk=stream).last_seq
            running.client.ask("until", target=target, seconds=60)
            seen = running.client.ask("report")
    yield from latencies("console.game_to_committed", committed)
    yield Figure(f"{name}.p50", seen.get("p50", math.nan), "ms", 15)
    yield Figure(f"{name}.p99", seen.get("p99", math.nan), "ms", 60)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.viewers_short_of_the_last_line", seen["open"] - seen["complete"], "viewers", 0)
    yield Figure(f"{name}.client_busy", seen["busy"] * 100, "%_of_a_core")
    yield Figure(f"{name}.agent_cpu", used / SECONDS * 100, "%_of_a_core")


def _beside_a_flood(site: "Site") -> Iterator[Figure]:
    """What another server's viewers notice of a game that prints 100,000 lines a second, once its savings are spent."""
    from jobs.models import Line, Stream
    from servers.agent.allowance import A_SECOND
    from tests.load.processes import cpu
    from tests.stack import wait_for

    with _games(site) as (play, stack):
        stream, flood = play(GAME.format(lines=LINES, batches=BATCHES)), play(FLOOD)
        agent = stack.start("agent")
        _seen_running(site, 2)
        told = Line.objects.filter(stream=flood, text__contains=" lines were dropped")
        wait_for(told.exists, seconds=120, what="lines being dropped")
        before, used, began = Stream.objects.get(pk=flood).last_seq, cpu(agent.pid), time.monotonic()
        committed = _committed(stream)
        lasted = time.monotonic() - began
        stored, used = Stream.objects.get(pk=flood).last_seq - before, cpu(agent.pid) - used
    yield from latencies("console.beside_a_flood.game_to_committed", committed, p99=1000)
    yield Figure("console.flood_stored", stored / lasted, "lines/s", 1.5 * A_SECOND)
    yield Figure("console.flood_agent_cpu", used / lasted * 100, "%_of_a_core")


def _committed(stream: int) -> list[float]:
    """Milliseconds from a line's print to the wake-up that tells of it, of every line within `SECONDS`."""
    import psycopg
    from django.db import connection

    from jobs import streams

    delays: list[float] = []
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
        session.execute(f"LISTEN {streams.CHANNEL}")
        row = session.execute("SELECT last_seq FROM jobs_stream WHERE id = %s", [stream]).fetchone()
        assert row
        after, limit = row[0], time.monotonic() + SECONDS
        while (left := limit - time.monotonic()) > 0:
            for _ in session.notifies(timeout=left, stop_after=1):
                now = time.monotonic_ns()
                for seq, _, text in streams.read(stream, after=after, limit=10_000):
                    after = seq
                    delays.append((now - int(text.partition(" ")[0])) / 1e6)
    return delays
