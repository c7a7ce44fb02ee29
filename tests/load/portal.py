"""A portal under load: streams to write to, web processes, and clients with viewers on them."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.test import Client

from jobs.models import Stream
from portal.models import User
from portal.tokens import create_token
from servers.models import Node, Server
from tests.bench.scale import scaled
from tests.load.processes import ENVIRONMENT, Process, cpu, resident
from tests.stack import Stack


class Site:
    """Streams to write to, and a user who may see them all."""

    def __init__(self) -> None:
        user, _ = User.objects.get_or_create(username="viewer", defaults={"is_staff": True})
        self.user, self.token = user, create_token(user=user, name=f"bench {time.monotonic_ns()}")[1]
        self.node = Node.objects.get_or_create(slug=settings.NODE, defaults={"name": "Local"})[0]
        browser = Client()
        browser.force_login(user)
        self.p99: dict[int, float] = {}  # milliseconds, by viewers: what was measured so far
        self.session = browser.cookies[settings.SESSION_COOKIE_NAME].value

    def stream(self) -> int:
        """A new server's console."""
        stream = Stream.objects.create()
        Server.objects.create(name=f"load-{stream.pk}", owner=self.user, node=self.node, game="x", console=stream)
        return stream.pk

    @contextmanager
    def run(self, viewers: int, streams: list[int], *, processes: int = 1, **options: Any) -> Iterator["Running"]:
        """Web processes with `viewers` each on `streams`."""
        with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), **ENVIRONMENT) as stack, ExitStack() as ends:
            names = [f"web{number}" for number in range(processes)]
            running = Running(stack, [], [])
            for name in names:
                stack.start_web(name)
                running.ports.append(stack.port)
            running.memory = running.resident()
            for port in running.ports if viewers else []:
                running.clients.append(ends.enter_context(self.viewers(port, viewers, streams, **options)))
            time.sleep(scaled(1, 0))
            yield running

    @contextmanager
    def viewers(
        self, address: Any, viewers: int, streams: list[int], *, after: int = 0, **options: Any
    ) -> Iterator[Any]:
        """A client of a web process that is running, with viewers who have the lines up to `after`."""
        address = ["127.0.0.1", address] if isinstance(address, int) else address
        with Process("tests.load.client", address=address, token=self.token, **options) as client:
            come(client, viewers, streams, [after])
            yield client


def come(client: Any, viewers: int, streams: list[int], after: list[int]) -> None:
    """Let more viewers come to a client, spread over `streams` and over the lines that they have already."""
    before = client.ask("report")["open"]
    paths = [f"/ws/streams/{stream}/" for stream in streams]
    opened = client.ask("open", count=viewers, paths=paths, after=after, seconds=120) - before
    assert opened == viewers, f"only {opened} of {viewers} viewers were let in"


@dataclass
class Running:
    """Web processes and their clients; `memory`: bytes the processes held before the first viewer came."""

    stack: Any
    ports: list[int]
    clients: list[Any]
    memory: int = 0

    @property
    def client(self) -> Any:
        return self.clients[0]

    def resident(self) -> int:
        return sum(resident(process.pid) for process in self.stack.processes.values())

    def cpu(self) -> float:
        return sum(cpu(process.pid) for process in self.stack.processes.values())
