"""Sees what runs on the node: writes each server's state when it changes and every console line exactly once.

States and consoles are one loop, so that a crash is told with the lines that came before it.
"""

import logging
import time
from dataclasses import dataclass, field

from jobs import streams
from servers import services
from servers.agent.revival import Revival
from servers.models import Node, Server
from servers.runtime import get_runtime
from servers.runtime.base import UnitState

log = logging.getLogger(__name__)
STATES_EVERY = 0.5  # seconds; at once when a server's topic was published
AFTERGLOW = 5.0  # seconds a console is still read after its game was last seen alive
BATCH = 1000  # lines read at once, of one server
LAST_LINES = 3
DETAIL_LENGTH = 300


@dataclass
class _Seen:
    """What the agent remembers of a server between two looks; lost without harm."""

    server: Server
    state: UnitState | None = None
    cursor: str | None = None  # None: ask the database how far the console was read
    read_until: float = field(default_factory=lambda: time.monotonic() + AFTERGLOW)


class Watch:
    """`step` is called ten times a second; `look_again` from another thread makes the next one look at states."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.runtime = get_runtime()
        self.revival = Revival()
        self._seen: dict[int, _Seen] = {}
        self._next_look = 0.0
        self.runtime.follow(self.look_again)

    def look_again(self) -> None:
        self._next_look = 0.0

    def step(self) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + STATES_EVERY
            self._look()
        for seen in self._seen.values():
            if time.monotonic() < seen.read_until:
                self._read_console(seen)

    def _look(self) -> None:
        servers = self._servers()
        states = self.runtime.states([server.name for server in servers])
        known, self._seen = self._seen, {}
        for server in servers:
            seen = self._seen[server.pk] = known.get(server.pk) or _Seen(server)
            seen.server = server
            state = states[server.name]
            if state.unit not in ("stopped", "crashed"):
                seen.read_until = time.monotonic() + AFTERGLOW
            if state != seen.state or state.unit != server.unit:
                self._changed(seen, state)
            self.revival.consider(server, state)

    def _servers(self) -> list[Server]:
        """What to watch. Files go by name: while a deleted server's are there, a new one of its name has none yet."""
        leaving = Server.objects.filter(node=self.node, put_away_at=None).exclude(deleted_at=None)
        return list(Server.objects.present().filter(node=self.node).exclude(name__in=leaving.values("name")))

    def _changed(self, seen: _Seen, state: UnitState) -> None:
        self._read_console(seen)
        server, detail = seen.server, state.detail
        if state.unit == "crashed":
            detail = self._with_last_lines(server, detail)
        if (state.unit, detail[:DETAIL_LENGTH]) != (server.unit, server.unit_detail):
            services.record_unit(server=server, unit=state.unit, detail=detail[:DETAIL_LENGTH], at=state.since)
            server.unit = state.unit
        seen.state = state

    def _with_last_lines(self, server: Server, detail: str) -> str:
        stream = type(server.console).objects.get(pk=server.console_id)
        lines = streams.read(stream.pk, after=max(0, stream.last_seq - LAST_LINES), limit=LAST_LINES)
        return " · ".join([detail, *(text for _, _, text in lines)])

    def _read_console(self, seen: _Seen) -> None:
        """Store what is new. After any failure the cursor is asked of the database again: it may have been saved."""
        server, cursor = seen.server, seen.cursor
        seen.cursor = None
        if cursor is None:
            cursor = type(server.console).objects.values_list("cursor", flat=True).get(pk=server.console_id)
        while True:
            lines, after = self.runtime.read_console(server.name, cursor, BATCH)
            if after != cursor:
                cleaned = [
                    piece for line in lines for piece in streams.clean(services.hide_secrets(server, line)) or [""]
                ]
                streams.append(server.console_id, cleaned, cursor=after)
                cursor = after
            if len(lines) < BATCH:
                break
        seen.cursor = cursor
