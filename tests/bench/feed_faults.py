"""The feed under what goes wrong: a web process that is killed, viewers who stop reading, a runaway job."""

import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.bench.figure import Figure
from tests.bench.scale import scaled
from tests.load.delivery import BATCHES, LINES, last, measure

if TYPE_CHECKING:
    from tests.load.portal import Site

STORM, SLOW, OTHERS, BURST, WATCHING = scaled((4000, 50, 100, 200, 50), (10, 2, 3, 2, 2))
BURST_LINES = BURST * 1000
SILENT = scaled((30, 45), (1, 1))  # seconds of many lines, then of few


def figures() -> Iterator[Figure]:
    from tests.load.portal import Site  # needs Django set up

    site = Site()
    yield from _storm(site)
    yield from _slow(site)
    yield from _burst(site)


def _storm(site: "Site") -> Iterator[Figure]:
    """All viewers of a web process that is killed come back to its successor at once."""
    from tests.load.processes import write

    stream, viewers, connections = site.stream(), STORM, [0]
    with site.run(viewers, [stream], reconnect=True) as running:
        stack, client = running.stack, running.client
        write([stream], seconds=1, batches=BATCHES, lines=LINES)
        time.sleep(1)
        client.ask("watch")
        stack.kill("web0")
        before = _connections()
        write([stream], seconds=2, batches=BATCHES, lines=LINES)
        stack.start_web(port=stack.port)
        client.start("until", target=last(stream), seconds=90)
        while not client.has_answered(0.2):
            connections.append(_connections() - before)
        took, seen = client.answer(), client.ask("report")
    name = f"feed.storm_of_{viewers}_reconnecting"
    yield Figure(f"{name}.everybody_caught_up", took if took >= 0 else float("nan"), "s", 20)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.database_connections", max(connections), "connections", 12)


def _slow(site: "Site") -> Iterator[Figure]:
    """Viewers who stop reading for more than a minute, among others who do not."""
    from tests.load.processes import write

    stream, slow_ones, name = site.stream(), SLOW, f"feed.{SLOW}_viewers_who_stop_reading"
    with site.run(OTHERS, [stream]) as running:
        write([stream], seconds=2, batches=5, lines=100)
        with site.viewers(running.ports[0], slow_ones, [stream], reconnect=True) as slow:
            slow.ask("watch")
            slow.process.send_signal(signal.SIGSTOP)
            before = running.resident()
            write([stream], seconds=SILENT[0], batches=5, lines=100)
            memory = (running.resident() - before) / slow_ones
            write([stream], seconds=SILENT[1], batches=1, lines=10)
            seen = measure(running.clients, [stream])
            slow.process.send_signal(signal.SIGCONT)
            resumed = slow.ask("until", target=last(stream), seconds=30)
            after = slow.ask("report")
    yield Figure(f"{name}.memory_each", memory / 1024, "KiB", 1024)
    yield Figure(f"{name}.p99_of_the_others", seen["p99"], "ms", 150)
    yield Figure(f"{name}.closed_with_4408", after["codes"].get("4408", 0), "viewers", slow_ones, at_least=True)
    yield Figure(f"{name}.resumed_within", resumed if resumed >= 0 else float("nan"), "s", 10)
    yield Figure(f"{name}.lost_or_doubled", after["lost"] + after["doubled"], "lines", 0)


def _burst(site: "Site") -> Iterator[Figure]:
    """Many lines at once, as a runaway job writes them, with and without viewers."""
    from jobs.streams import append

    text, rate = "Player 12 picked up a first aid kit near the safe room", {}
    for viewers in (0, WATCHING):
        stream = site.stream()
        with site.run(viewers, [stream]) as running:
            memory, began = running.resident(), time.monotonic()
            for _ in range(BURST):
                append(stream, [f"{time.monotonic_ns()} {text}"] * 1000)
            rate[viewers] = BURST_LINES / (time.monotonic() - began)
            if viewers:
                running.client.ask("until", target=BURST_LINES, seconds=120)
                caught_up = time.monotonic() - began
                seen, memory = running.client.ask("report"), running.resident() - memory
    name = f"feed.burst_of_{BURST_LINES}_lines_and_{WATCHING}_viewers"
    yield Figure(f"{name}.writer", rate[WATCHING], "lines/s")
    yield Figure(f"{name}.writer_without_viewers", rate[0], "lines/s")
    yield Figure(f"{name}.everybody_caught_up", caught_up, "s", 30)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.memory_of_the_process_grew_by", memory / 2**20, "MiB", 60)


def _connections() -> int:
    from django.db import connection

    with connection.cursor() as db:
        db.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(db.fetchone()[0])
