"""Measures what each server has written, a little at a time, so that no game's files hold up another's turn."""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from servers import services
from servers.disk import limit_of
from servers.models import Node, Server
from servers.runtime import get_runtime
from servers.runtime.measuring import Measure

SLICE = 0.25  # seconds of work in one step
LONGEST = 20.0  # seconds for one server: what is counted by then is what is known
AT_REST_EVERY = timedelta(hours=1)  # a stopped one changes by jobs alone, which measure it themselves
LIVE = (Server.Unit.STARTING, Server.Unit.RUNNING, Server.Unit.RESTARTING, Server.Unit.STOPPING)


@dataclass
class _UnderWay:
    server: Server
    measure: Measure
    began: float


class Measuring:
    """`step` is called once a second."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.runtime = get_runtime()
        self._under_way: _UnderWay | None = None

    def step(self) -> None:
        until = time.monotonic() + SLICE
        while time.monotonic() < until:
            self._under_way = self._under_way or self._next()
            if self._under_way is None:
                return
            self._go_on(self._under_way)

    def _next(self) -> _UnderWay | None:
        """The server that was measured the longest ago, if it is time."""
        server = self._due().order_by(F("disk_measured_at").asc(nulls_first=True)).select_related("owner").first()
        if server is None:
            return None
        limit = limit_of(server.owner)
        measure = self.runtime.measure(server.name, enough=2 * limit if limit is not None else None)
        return _UnderWay(server, measure, time.monotonic())

    def _due(self) -> "QuerySet[Server]":
        now = timezone.now()
        soon = now - timedelta(seconds=settings.DISK_SECONDS)
        is_live = Q(unit__in=LIVE, disk_measured_at__lt=soon)
        is_old = Q(disk_measured_at=None) | Q(disk_measured_at__lt=now - AT_REST_EVERY)
        return Server.objects.present().filter(is_live | is_old, node=self.node)

    def _go_on(self, under_way: _UnderWay) -> None:
        late = time.monotonic() - under_way.began > LONGEST
        if under_way.measure.step() or late:
            self._under_way = None
            measure = under_way.measure
            measure.close()
            services.record_disk(server=under_way.server, size=measure.size, is_cut=measure.is_cut or late)
