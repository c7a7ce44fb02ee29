"""From `streams.append` to the viewers' sockets: how late a line is, for how many viewers, at what cost.

One web process, as one core can run; the client, the writer and PostgreSQL share the machine with it. Beside it, with
the same client and the same lines: a channel layer's group, and a threaded server of server-sent events.
"""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.bench.figure import Figure, percentile

if TYPE_CHECKING:
    from tests.load.portal import Site

SECONDS = 10
BATCHES, LINES = 5, 10  # a second, and lines a batch


def figures() -> Iterator[Figure]:
    from tests.load.portal import Site  # needs Django set up

    site = Site()
    yield from _busy_stream(site)
    yield from _viewers(site, 1000, p99=250)
    yield from _viewers(site, 4000, p99=500, pages=300)
    yield from _viewers(site, 10_000, p99=1500)
    yield from _beside(site)
    yield from _many_streams(site)
    yield from _storm(site)
    yield from _slow(site)
    yield from _burst(site)
    yield from _viewers(site, 4000, p99=None, processes=2)
    yield from _behind_nginx(site)


def _measure(clients: list[Any], streams: list[int], *, batches: float = BATCHES, lines: int = LINES) -> dict[str, Any]:
    """Write for `SECONDS` and report what the clients saw, the worst of each figure."""
    from tests.load.processes import write

    for client in clients:
        client.ask("watch")
    written = write(streams, seconds=SECONDS, batches=batches, lines=lines)
    target = _last(streams[0]) if len(streams) == 1 else 1
    for client in clients:
        client.start("until", target=target, seconds=60)
    for client in clients:
        client.answer()
    reports = [client.ask("report") for client in clients]
    worst = {key: max(report.get(key, float("nan")) for report in reports) for key in ("p50", "p99", "busy", "seconds")}
    summed = {key: sum(report[key] for report in reports) for key in ("open", "complete", "lost", "doubled")}
    return worst | summed | {"written": written}


def _delivery(name: str, seen: dict[str, Any], **bounds: float | None) -> Iterator[Figure]:
    yield Figure(f"{name}.p50", seen.get("p50", float("nan")), "ms", bounds.get("p50"))
    yield Figure(f"{name}.p99", seen.get("p99", float("nan")), "ms", bounds.get("p99"))
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.viewers_short_of_the_last_line", seen["open"] - seen["complete"], "viewers", 0)
    yield Figure(f"{name}.client_busy", seen["busy"] * 100, "%_of_a_core")


def _busy_stream(site: "Site") -> Iterator[Figure]:
    stream = site.stream()
    with site.run(100, [stream]) as running:
        seen = _measure(running.clients, [stream], batches=10, lines=100)
    site.p99[100] = seen["p99"]
    yield from _delivery("feed.append_to_socket_at_1000_lines_a_second_and_100_viewers", seen, p50=60, p99=150)


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
        seen = _measure(running.clients, [stream])
        used = running.cpu() - began
        times = asked.stop()
    site.p99[viewers * processes] = seen["p99"]
    yield from _delivery(name, seen, p99=p99)
    yield Figure(f"{name}.server_cpu", used / seen["seconds"] * 100, "%_of_a_core")
    yield Figure(f"{name}.cpu_a_frame_with_pages", used / (viewers * processes * BATCHES * SECONDS) * 1e6, "µs")
    yield Figure(f"{name}.memory_an_idle_viewer", memory / 1024, "KiB", 40)
    yield Figure(f"{name}.page_p99_meanwhile", percentile(times, 99), "ms", pages)


def _slow(site: "Site") -> Iterator[Figure]:
    """Viewers who stop reading for more than a minute, among others who do not."""
    from tests.load.processes import write

    stream, slow_ones, name = site.stream(), 50, "feed.50_viewers_who_stop_reading"
    with site.run(100, [stream]) as running:
        write([stream], seconds=2, batches=5, lines=100)
        with site.viewers(running.ports[0], slow_ones, [stream], reconnect=True) as slow:
            slow.ask("watch")
            slow.process.send_signal(signal.SIGSTOP)
            before = running.resident()
            write([stream], seconds=30, batches=5, lines=100)
            memory = (running.resident() - before) / slow_ones
            write([stream], seconds=45, batches=1, lines=10)
            seen = _measure(running.clients, [stream])
            slow.process.send_signal(signal.SIGCONT)
            resumed = slow.ask("until", target=_last(stream), seconds=30)
            after = slow.ask("report")
    yield Figure(f"{name}.memory_each", memory / 1024, "KiB", 1024)
    yield Figure(f"{name}.p99_of_the_others", seen["p99"], "ms", 150)
    yield Figure(f"{name}.closed_with_4408", after["codes"].get("4408", 0), "viewers", slow_ones, at_least=True)
    yield Figure(f"{name}.resumed_within", resumed if resumed >= 0 else float("nan"), "s", 10)
    yield Figure(f"{name}.lost_or_doubled", after["lost"] + after["doubled"], "lines", 0)


def _burst(site: "Site") -> Iterator[Figure]:
    """200,000 lines at once, as a runaway job writes them, with and without viewers."""
    from jobs.streams import append

    text, rate = "Player 12 picked up a first aid kit near the safe room", {}
    for viewers in (0, 50):
        stream = site.stream()
        with site.run(viewers, [stream]) as running:
            memory, began = running.resident(), time.monotonic()
            for _ in range(200):
                append(stream, [f"{time.monotonic_ns()} {text}"] * 1000)
            rate[viewers] = 200_000 / (time.monotonic() - began)
            if viewers:
                running.client.ask("until", target=200_000, seconds=120)
                caught_up = time.monotonic() - began
                seen, memory = running.client.ask("report"), running.resident() - memory
    name = "feed.burst_of_200000_lines_and_50_viewers"
    yield Figure(f"{name}.writer", rate[50], "lines/s")
    yield Figure(f"{name}.writer_without_viewers", rate[0], "lines/s")
    yield Figure(f"{name}.everybody_caught_up", caught_up, "s", 30)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.memory_of_the_process_grew_by", memory / 2**20, "MiB", 60)


def _many_streams(site: "Site") -> Iterator[Figure]:
    streams, reads = [site.stream() for _ in range(500)], {}
    for each in (1, 4):
        with site.run(500 * each, streams) as running:
            before = _reads(running.ports[0])
            seen = _measure(running.clients, streams, batches=2, lines=1)
            reads[each] = (_reads(running.ports[0]) - before) / seen["seconds"]
    name = "feed.500_streams_4_viewers_each"
    yield from _delivery(name, seen, p99=300)
    yield Figure(f"{name}.batches_the_writer_managed", seen["written"] * 100, "%")
    yield Figure(f"{name}.queries", reads[4], "/s", 60)
    yield Figure(f"{name}.queries_with_1_viewer_each", reads[1], "/s")


def _reads(port: int) -> float:
    from tests.jobs.sockets import metric

    return metric(f"http://127.0.0.1:{port}", "left4me_feed_reads_total")


def _storm(site: "Site") -> Iterator[Figure]:
    """All viewers of a web process that is killed come back to its successor at once."""
    from tests.load.processes import write

    stream, viewers, connections = site.stream(), 4000, [0]
    with site.run(viewers, [stream], reconnect=True) as running:
        stack, client = running.stack, running.client
        write([stream], seconds=1, batches=BATCHES, lines=LINES)
        time.sleep(1)
        client.ask("watch")
        stack.kill("web0")
        before = _connections()
        write([stream], seconds=2, batches=BATCHES, lines=LINES)
        stack.start_web(port=stack.port)
        client.start("until", target=_last(stream), seconds=90)
        while not client.has_answered(0.2):
            connections.append(_connections() - before)
        took, seen = client.answer(), client.ask("report")
    name = f"feed.storm_of_{viewers}_reconnecting"
    yield Figure(f"{name}.everybody_caught_up", took if took >= 0 else float("nan"), "s", 20)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.database_connections", max(connections), "connections", 12)


def _last(stream: int) -> int:
    from jobs.models import Stream

    return Stream.objects.get(pk=stream).last_seq


def _connections() -> int:
    from django.db import connection

    with connection.cursor() as db:
        db.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(db.fetchone()[0])


def _beside(site: "Site") -> Iterator[Figure]:
    """The usual ways, at as many viewers as they bear."""
    import subprocess
    import sys

    from tests.stack import BASE, free_port, wait_for

    servers = {
        "channel_layer": (
            [sys.executable, "-m", "daphne", "tests.load.usual:application", "-v", "0", "-p"],
            (250, 1000, 2000),
        ),
        "gunicorn_sse": ([sys.executable, "-m", "gunicorn", "tests.load.sse", "--threads", "32", "-b"], (31,)),
    }
    for kind, (command, counts) in servers.items():
        for viewers in counts:
            port, stream = free_port(), site.stream()
            argv = [*command, f"127.0.0.1:{port}" if command[-1] == "-b" else str(port)]
            settings = "tests.load.usual_settings" if kind == "channel_layer" else "portal.settings"
            environment = os.environ | {"DJANGO_SETTINGS_MODULE": settings}
            process = subprocess.Popen(argv, cwd=BASE, env=environment, stderr=subprocess.DEVNULL)
            try:
                wait_for(lambda port=port: _answers(port), seconds=30, what=kind)
                mode = "sse" if kind == "gunicorn_sse" else "websocket"
                with site.viewers(port, viewers, [stream], mode=mode) as client:
                    seen = _measure([client], [stream])
            finally:
                process.kill()
                process.wait()
            name = f"beside.{kind}_{viewers}_viewers"
            yield Figure(f"{name}.p99", seen["p99"], "ms")
            yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines")
            ours = max((ours for ours, p99 in site.p99.items() if p99 <= seen["p99"]), default=0)
            yield Figure(f"{name}.times_as_many_on_the_feed_at_equal_p99", ours / viewers, "times")


def _behind_nginx(site: "Site") -> Iterator[Figure]:
    """4,000 viewers through nginx to one and to two processes on unix sockets, as deploy/ sets it up."""
    from tests.load.proxy import find_nginx, nginx
    from tests.stack import free_port, wait_for

    if not (binary := find_nginx()):
        yield Figure("feed.through_nginx_is_not_measured_where_nginx_is_not_installed", float("nan"), "-")
        return
    for processes in (1, 2):
        stream, port = site.stream(), free_port()
        with site.run(0, [stream], processes=0) as running, tempfile.TemporaryDirectory() as folder:
            sockets = [f"{folder}/{number}.sock" for number in range(processes)]
            for path in sockets:
                running.stack.start("web", "--unix", path, name=path.rpartition("/")[2])
            with nginx(binary, folder, port, sockets) as proxy:
                wait_for(lambda ports=(port, *sockets): all(map(_answers, ports)), seconds=30, what="nginx")
                with site.viewers(port, 4000, [stream]) as client:
                    began = running.cpu(), proxy.cpu()
                    seen = _measure([client], [stream])
                    used = running.cpu() - began[0], proxy.cpu() - began[1]
        name = f"feed.4000_viewers_through_nginx_to_{processes}_processes"
        yield from _delivery(name, seen)
        yield Figure(f"{name}.server_cpu", used[0] / seen["seconds"] * 100, "%_of_a_core")
        yield Figure(f"{name}.nginx_cpu", used[1] / seen["seconds"] * 100, "%_of_a_core")


def _answers(address: int | str) -> bool:
    import socket

    family, target = (socket.AF_UNIX, address) if isinstance(address, str) else (socket.AF_INET, ("127.0.0.1", address))
    with socket.socket(family) as probe:
        return probe.connect_ex(target) == 0
