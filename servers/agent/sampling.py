"""Once a minute, notes how each running server does: players and map as last heard, processor and memory."""

import time

from django.utils import timezone

from servers import services
from servers.models import Node, Sample, Server
from servers.runtime import get_runtime
from servers.runtime.base import Usage

EVERY = 60.0  # seconds


class Sampling:
    """`step` is called every minute. The first look at a server gives its memory, the second also its processor."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._before: dict[int, tuple[float, float]] = {}  # processor seconds, and when

    def step(self) -> None:
        running = list(Server.objects.present().filter(node=self.node, unit=Server.Unit.RUNNING))
        usage = get_runtime().usage([server.name for server in running])
        known, self._before = self._before, {}
        minute = timezone.now().replace(second=0, microsecond=0)
        samples = []
        for server in running:
            used, facts = usage.get(server.name), server.facts()
            samples.append(
                Sample(
                    server=server,
                    at=minute,
                    players=facts.get("players"),
                    map=str(facts.get("map", ""))[:120],
                    cpu=self._percent(server.pk, used, known) if used else None,
                    memory=used.memory if used else None,
                )
            )
        services.record_samples(samples=samples)
        services.clear_samples()

    def _percent(self, key: int, used: Usage, known: dict[int, tuple[float, float]]) -> float | None:
        """Of one processor since the look before; None when there was none or it was started anew since."""
        now = time.monotonic()
        self._before[key] = (used.cpu_seconds, now)
        seconds, at = known.get(key, (used.cpu_seconds + 1, now))
        if used.cpu_seconds < seconds or now - at < 1:
            return None
        return round(100 * (used.cpu_seconds - seconds) / (now - at), 1)
