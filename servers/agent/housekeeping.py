"""The agent's slow duties: its heartbeat, and files and rows that were kept long enough."""

import os
import platform
import shutil
import time
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from servers import services
from servers.agent.loop import Loop
from servers.models import Node

CLEAR_EVERY, PURGE_EVERY = 60.0, 3600.0  # seconds
WATCH_MAY_REST = 30.0  # seconds without a look at the servers before the agent no longer counts as alive


class Housekeeping:
    """`step` is called every five seconds."""

    def __init__(self, node: Node, watch: Loop) -> None:
        self.node = node
        self.watch = watch
        self._next_clearing = self._next_purge = 0.0

    def step(self) -> None:
        if time.monotonic() - self.watch.last_success < WATCH_MAY_REST:
            services.beat(node=self.node, info=self._info())
        if time.monotonic() >= self._next_clearing:
            services.clean_up_lost_builds(node=self.node)
            services.request_due_checks(node=self.node)
            services.request_cleaning(node=self.node)  # soon: what is not cleaned up yet counts for nobody
            self._next_clearing = time.monotonic() + CLEAR_EVERY
        if time.monotonic() >= self._next_purge:
            services.request_purge(node=self.node)
            services.forget_events()
            call_command("clearsessions")  # of people who signed in and did not come back
            services.request_refreshes()
            self._next_purge = time.monotonic() + PURGE_EVERY

    def _info(self) -> dict[str, object]:
        place = Path(settings.STATE_DIR)
        place.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(place)
        return {
            "host": platform.node(),
            "pid": os.getpid(),
            "runtime": settings.RUNTIME,
            "disk_total": disk.total,
            "disk_free": disk.free,
            "load": round(os.getloadavg()[0], 2),
        }
