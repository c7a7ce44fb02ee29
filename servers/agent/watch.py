"""Sees what runs on the node: writes each server's state when it changes and every console line exactly once.

States and consoles are one loop, so that a crash is told with the lines that came before it.
"""

import logging
import time
from dataclasses import dataclass, field

from django.db import DatabaseError, InterfaceError

from jobs import streams
from jobs.models import Stream
from servers import games, services
from servers.agent.revival import Revival
from servers.models import Node, Server
from servers.runtime import get_runtime
from servers.runtime.base import UnitState

log = logging.getLogger(__name__)
STATES_EVERY = 0.5  # seconds; at once when a server's topic was published
ATTENTION = 5.0  # seconds after that in which a server on its way is looked at in every step
AFTERGLOW = 5.0  # seconds a console is still read after its game was last seen alive
BATCH, BATCHES = 1000, 5  # lines read at once of one server, and how often before it is the next one's turn
UNREADABLE_PAUSE = 30.0  # seconds
DETAIL_LENGTH = 300


@dataclass
class _Seen:
    """What the agent remembers of a server between two looks; lost without harm."""

    server: Server
    state: UnitState | None = None
    cursor: str | None = None  # None: ask the database how far the console was read
    read_from: float = 0.0
    read_until: float = field(default_factory=lambda: time.monotonic() + AFTERGLOW)


def _is_on_its_way(seen: _Seen) -> bool:
    return (seen.server.desired == Server.Desired.RUN) != (seen.server.unit == Server.Unit.RUNNING)


class Watch:
    """`step` is called ten times a second; `look_again` from another thread makes the next one look at states."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.runtime = get_runtime()
        self.revival = Revival()
        self._seen: dict[int, _Seen] = {}
        self._next_look = self._attentive_until = 0.0
        self.runtime.follow(self.look_again)

    def look_again(self) -> None:
        self._next_look, self._attentive_until = 0.0, time.monotonic() + ATTENTION

    def step(self) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + STATES_EVERY
            self._look()
            if time.monotonic() < self._attentive_until and any(map(_is_on_its_way, self._seen.values())):
                self._next_look = 0.0
        for seen in self._seen.values():
            if seen.read_from <= time.monotonic() < seen.read_until:
                self._try_console(seen)

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
        self._try_console(seen)
        server, detail = seen.server, state.detail[:DETAIL_LENGTH]
        if (state.unit, detail) != (server.unit, server.unit_detail):
            services.record_unit(server=server, unit=state.unit, detail=detail, at=state.since)
            server.unit = state.unit
        seen.state = state

    def _try_console(self, seen: _Seen) -> None:
        """One server's unreadable console must not keep the others from being read."""
        try:
            self._read_console(seen)
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            log.exception("The console of %s cannot be read", seen.server.name)
            seen.read_from = time.monotonic() + UNREADABLE_PAUSE

    def _read_console(self, seen: _Seen) -> None:
        """Store what is new, up to a bound. After a failure the cursor is asked of the database: it may be saved."""
        server, cursor = seen.server, seen.cursor
        seen.cursor = None
        if cursor is None:
            cursor = Stream.objects.values_list("cursor", flat=True).get(pk=server.console_id)
        for _ in range(BATCHES):
            lines, after = self.runtime.read_console(server.name, cursor, BATCH)
            if after != cursor:
                streams.append(server.console_id, _readable(server, lines), cursor=after)
                cursor = after
            if len(lines) < BATCH:
                break
        seen.cursor = cursor


def _readable(server: Server, lines: list[str]) -> list[str]:
    """Lines as members may see them: without secrets, the game's codes for colours and what cannot be shown."""
    game = games.all_games().get(server.game)
    plain = game.console.plain if game and game.console else str
    return [text for line in lines for text in streams.clean(plain(services.hide_secrets(server, line))) or [""]]
