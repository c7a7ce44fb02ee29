"""From `streams.append` to the viewers' sockets: how late a line is, for how many viewers, at what cost.

One web process, as one core can run; the client, the writer and PostgreSQL share the machine with it. Beside it, with
the same client and the same lines: a channel layer's group, and a threaded server of server-sent events.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.figure import Figure, percentile

SECONDS = 10
BATCHES, LINES = 5, 10  # a second, and lines a batch


def figures() -> Iterator[Figure]:
    site = Site()
    yield from _busy_stream(site)
    yield from _viewers(site, 1000, p99=250)
    yield from _viewers(site, 4000, p99=500, pages=300)
    yield from _viewers(site, 10_000, p99=1500)
    yield from _beside(site)
    yield from _many_streams(site)
    yield from _storm(site)


class Site:
    """Streams to write to, and a user who may see them all."""

    def __init__(self) -> None:
        from django.conf import settings
        from django.test import Client

        from portal.models import User
        from portal.tokens import create_token
        from servers.models import Node

        user, _ = User.objects.get_or_create(username="viewer", defaults={"is_staff": True})
        self.user, self.token = user, create_token(user=user, name=f"bench {time.monotonic_ns()}")[1]
        self.node = Node.objects.get_or_create(slug=settings.NODE, defaults={"name": "Local"})[0]
        browser = Client()
        browser.force_login(user)
        self.session = browser.cookies[settings.SESSION_COOKIE_NAME].value

    def stream(self) -> int:
        """A new server's console."""
        from jobs.models import Stream
        from servers.models import Server

        stream = Stream.objects.create()
        Server.objects.create(name=f"load-{stream.pk}", owner=self.user, node=self.node, game="x", console=stream)
        return stream.pk

    @contextmanager
    def run(self, viewers: int, streams: list[int], **options: Any) -> Iterator[Any]:
        """A web process with `viewers` on `streams`; gives (stack, client)."""
        from tests.load.site import ENVIRONMENT, Process
        from tests.stack import Stack

        with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), **ENVIRONMENT) as stack:
            stack.start_web()
            address = ["127.0.0.1", stack.port]
            with Process("tests.load.client", address=address, token=self.token, **options) as client:
                paths = [f"/ws/streams/{stream}/" for stream in streams]
                opened = client.ask("open", count=viewers, paths=paths, after=0, seconds=120)
                assert opened == viewers, f"only {opened} of {viewers} viewers were let in"
                time.sleep(1)
                yield stack, client


def _measure(client: Any, streams: list[int], *, batches: float = BATCHES, lines: int = LINES) -> dict[str, Any]:
    """Write for `SECONDS` and report what the client saw."""
    from jobs.models import Stream
    from tests.load.site import write

    client.ask("watch")
    written = write(streams, seconds=SECONDS, batches=batches, lines=lines)
    last = max(Stream.objects.filter(pk__in=streams).values_list("last_seq", flat=True))
    client.ask("until", target=last if len(streams) == 1 else 1, seconds=60)
    return client.ask("report") | {"written": written}


def _delivery(name: str, seen: dict[str, Any], **bounds: float | None) -> Iterator[Figure]:
    yield Figure(f"{name}.p50", seen.get("p50", float("nan")), "ms", bounds.get("p50"))
    yield Figure(f"{name}.p99", seen.get("p99", float("nan")), "ms", bounds.get("p99"))
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.viewers_short_of_the_last_line", seen["open"] - seen["complete"], "viewers", 0)
    yield Figure(f"{name}.client_busy", seen["busy"] * 100, "%_of_a_core")


def _busy_stream(site: Site) -> Iterator[Figure]:
    stream = site.stream()
    with site.run(100, [stream]) as (_, client):
        seen = _measure(client, [stream], batches=10, lines=100)
    yield from _delivery("feed.append_to_socket_at_1000_lines_a_second_and_100_viewers", seen, p50=60, p99=150)


def _viewers(site: Site, viewers: int, *, p99: float, pages: float | None = None) -> Iterator[Figure]:
    from tests.load.site import Pages, cpu, resident

    stream, name = site.stream(), f"feed.{viewers}_viewers"
    with site.run(viewers, [stream]) as (stack, client):
        pid = stack.processes["web"].pid
        asked = Pages(stack.port, "/", site.session)
        asked.start()
        began = cpu(pid)
        seen = _measure(client, [stream])
        used = (cpu(pid) - began) / seen["seconds"]
        times = asked.stop()
        memory = resident(pid)
    yield from _delivery(name, seen, p99=p99)
    yield Figure(f"{name}.server_cpu", used * 100, "%_of_a_core")
    yield Figure(f"{name}.cpu_a_frame", used * seen["seconds"] / (viewers * BATCHES * SECONDS) * 1e6, "µs")
    yield Figure(f"{name}.memory_of_the_process", memory / 2**20, "MiB")
    yield Figure(f"{name}.page_p99_meanwhile", percentile(times, 99), "ms", pages)


def _many_streams(site: Site) -> Iterator[Figure]:
    streams, reads = [site.stream() for _ in range(500)], {}
    for each in (1, 4):
        with site.run(500 * each, streams) as (stack, client):
            before = _reads(stack.port)
            seen = _measure(client, streams, batches=2, lines=1)
            reads[each] = (_reads(stack.port) - before) / seen["seconds"]
    name = "feed.500_streams_4_viewers_each"
    yield from _delivery(name, seen, p99=300)
    yield Figure(f"{name}.batches_the_writer_managed", seen["written"] * 100, "%")
    yield Figure(f"{name}.queries", reads[4], "/s", 60)
    yield Figure(f"{name}.queries_with_1_viewer_each", reads[1], "/s")


def _reads(port: int) -> float:
    from tests.jobs.sockets import metric

    return metric(f"http://127.0.0.1:{port}", "left4me_feed_reads_total")


def _storm(site: Site) -> Iterator[Figure]:
    """All viewers of a web process that is killed come back to its successor at once."""
    from jobs.models import Stream
    from tests.load.site import write

    stream, viewers, connections = site.stream(), 4000, [0]
    with site.run(viewers, [stream], reconnect=True) as (stack, client):
        write([stream], seconds=1, batches=BATCHES, lines=LINES)
        time.sleep(1)
        client.ask("watch")
        stack.kill("web")
        before = _connections()
        write([stream], seconds=2, batches=BATCHES, lines=LINES)
        stack.start_web(port=stack.port)
        client.start("until", target=Stream.objects.get(pk=stream).last_seq, seconds=90)
        while not client.has_answered(0.2):
            connections.append(_connections() - before)
        took, seen = client.answer(), client.ask("report")
    name = f"feed.storm_of_{viewers}_reconnecting"
    yield Figure(f"{name}.everybody_caught_up", took if took >= 0 else float("nan"), "s", 20)
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.database_connections", max(connections), "connections", 12)


def _connections() -> int:
    from django.db import connection

    with connection.cursor() as db:
        db.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(db.fetchone()[0])


def _beside(site: Site) -> Iterator[Figure]:
    """The usual ways, at as many viewers as they bear."""
    import subprocess
    import sys

    from tests.load.site import Process
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
                with Process("tests.load.client", address=["127.0.0.1", port], token=site.token, mode=mode) as client:
                    client.ask("open", count=viewers, paths=[f"/ws/streams/{stream}/"], after=0, seconds=60)
                    seen = _measure(client, [stream])
            finally:
                process.kill()
                process.wait()
            yield Figure(f"beside.{kind}_{viewers}_viewers.p99", seen.get("p99", float("nan")), "ms")
            yield Figure(f"beside.{kind}_{viewers}_viewers.lost_or_doubled", seen["lost"] + seen["doubled"], "lines")


def _answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
