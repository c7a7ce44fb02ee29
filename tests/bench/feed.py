"""From `streams.append` to the viewers' sockets: how late a line is, for how many viewers, at what cost.

One web process, as one core can run; the client, the writer and PostgreSQL share the machine with it. Beside it, with
the same client and the same lines: a channel layer's group, and a threaded server of server-sent events.
"""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, percentile
from tests.bench.scale import MINI, scaled
from tests.load.delivery import BATCHES, SECONDS, answers, delivery, measure

if TYPE_CHECKING:
    from tests.load.portal import Site

FEW, MANY, MOST = scaled((1000, 4000, 10_000), (5, 5, 5))
BUSY, STREAMS = scaled((100, 500), (5, 10))
CHANNEL_LAYER, SERVER_SENT = scaled(((250, 1000), (31,)), ((5,), (5,)))


def figures() -> Iterator[Figure]:
    from tests.load.portal import Site  # needs Django set up

    site = Site()
    yield from _busy_stream(site)
    yield from _viewers(site, FEW, p99=250)
    if not MINI:  # one more of the same
        yield from _viewers(site, MANY, p99=500, pages=300)
        yield from _viewers(site, MOST, p99=1500)
    yield from _beside(site)
    yield from _many_streams(site)
    yield from _viewers(site, MANY, p99=None, processes=2)


def _busy_stream(site: "Site") -> Iterator[Figure]:
    stream = site.stream()
    with site.run(BUSY, [stream]) as running:
        seen = measure(running.clients, [stream], batches=10, lines=100)
    site.p99[BUSY] = seen["p99"]
    yield from delivery(f"feed.append_to_socket_at_1000_lines_a_second_and_{BUSY}_viewers", seen, p50=60, p99=150)


def _viewers(
    site: "Site", viewers: int, *, p99: float | None, pages: float | None = None, processes: int = 1
) -> Iterator[Figure]:
    from tests.load.processes import Pages

    stream = site.stream()
    name = f"feed.{viewers * processes}_viewers" + (f"_on_{processes}_processes" if processes > 1 else "")
    with site.run(viewers, [stream], processes=processes) as running:
        memory = (running.resident() - running.memory) / viewers / processes
        asked = Pages(running.ports[0], "/", site.session)
        asked.start()
        began = running.cpu()
        seen = measure(running.clients, [stream])
        used = running.cpu() - began
        times = asked.stop()
    site.p99[viewers * processes] = seen["p99"]
    yield from delivery(name, seen, p99=p99)
    yield Figure(f"{name}.server_cpu", used / seen["seconds"] * 100, "%_of_a_core")
    yield Figure(f"{name}.cpu_a_frame_with_pages", used / (viewers * processes * BATCHES * SECONDS) * 1e6, "µs")
    yield Figure(f"{name}.memory_an_idle_viewer", memory / 1024, "KiB", 40)
    yield Figure(f"{name}.page_p99_meanwhile", percentile(times, 99), "ms", pages)


def _many_streams(site: "Site") -> Iterator[Figure]:
    streams, reads = [site.stream() for _ in range(STREAMS)], {}
    for each in (1, 4):
        with site.run(STREAMS * each, streams) as running:
            before = _reads(running.ports[0])
            seen = measure(running.clients, streams, batches=2, lines=1)
            reads[each] = (_reads(running.ports[0]) - before) / seen["seconds"]
    name = f"feed.{STREAMS}_streams_4_viewers_each"
    yield from delivery(name, seen, p99=300)
    yield Figure(f"{name}.batches_the_writer_managed", seen["written"] * 100, "%")
    yield Figure(f"{name}.queries", reads[4], "/s", 60)
    yield Figure(f"{name}.queries_with_1_viewer_each", reads[1], "/s")


def _reads(port: int) -> float:
    from tests.jobs.sockets import metric

    return metric(f"http://127.0.0.1:{port}", "left4me_feed_reads_total")


def _beside(site: "Site") -> Iterator[Figure]:
    """The usual ways, at as many viewers as they bear."""
    import subprocess
    import sys

    from tests.stack import BASE, free_port, wait_for

    servers = {
        "channel_layer": (
            [sys.executable, "-m", "daphne", "tests.load.usual:application", "-v", "0", "-p"],
            CHANNEL_LAYER,
        ),
        "gunicorn_sse": ([sys.executable, "-m", "gunicorn", "tests.load.sse", "--threads", "32", "-b"], SERVER_SENT),
    }
    for kind, (command, counts) in servers.items():
        for viewers in counts:
            port, stream = free_port(), site.stream()
            argv = [*command, f"127.0.0.1:{port}" if command[-1] == "-b" else str(port)]
            settings = "tests.load.usual_settings" if kind == "channel_layer" else "portal.settings"
            environment = os.environ | {"DJANGO_SETTINGS_MODULE": settings}
            process = subprocess.Popen(argv, cwd=BASE, env=environment, stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda port=port: answers(port), seconds=30, what=kind)
                mode = "sse" if kind == "gunicorn_sse" else "websocket"
                with site.viewers(port, viewers, [stream], mode=mode) as client:
                    seen = measure([client], [stream])
            finally:
                process.kill()
                process.wait()
            name = f"beside.{kind}_{viewers}_viewers"
            yield Figure(f"{name}.p99", seen["p99"], "ms")
            yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines")
            ours = max((ours for ours, p99 in site.p99.items() if p99 <= seen["p99"]), default=0)
            yield Figure(f"{name}.times_as_many_on_the_feed_at_equal_p99", ours / viewers, "times")
