"""Sees what runs on the node: writes each server's state when it changes and every console line exactly once.

States and consoles are one loop, so that a crash is told with the lines that came before it. It sleeps until something
happens; all servers are scanned from time to time in any case, for a wake-up may be missed.
"""

import time
from dataclasses import dataclass

from servers import services
from servers.agent.consoles import ROUND, Consoles
from servers.agent.revival import Revival
from servers.models import Node, Server
from servers.runtime import get_runtime
from servers.runtime.base import UnitState
from servers.runtime.wakes import Woken

SCAN_EVERY = 1.0  # seconds; at once when a server's topic was published or the machine tells of a change
ATTENTION, ATTENTIVE_EVERY = 5.0, 0.1  # seconds after that in which a server on its way is scanned so often
SCAN_REST, SCAN_SHARE = 0.05, 3  # seconds between two scans at least, or so many times the processor time of one
LINGER = 0.001  # seconds: what a game prints in one go is read, and stored, in one
DETAIL_LENGTH = 300


@dataclass
class _Seen:
    """What the agent remembers of a server between two scans; lost without harm."""

    server: Server
    state: UnitState | None = None


def _is_on_its_way(seen: _Seen) -> bool:
    return (seen.server.desired == Server.Desired.RUN) != (seen.server.unit == Server.Unit.RUNNING)


class Watch:
    """`wait`, then `step`, in one thread; `scan_soon`, `start_over` and `ring` may be called from others."""

    def __init__(self, node: Node, *, scan_every: float = SCAN_EVERY) -> None:
        self.node = node
        self.scan_every = scan_every
        self.runtime = get_runtime()
        self.revival = Revival()
        self.wakes = self.runtime.wakes()
        self.consoles = Consoles(self.runtime, self.wakes.late)
        self._seen: dict[int, _Seen] = {}
        self._next_scan = self._attentive_until = self._scan_rests_until = 0.0
        self._is_new = True
        self.runtime.follow(self.scan_soon)

    def scan_soon(self) -> None:
        self._next_scan, self._attentive_until = 0.0, time.monotonic() + ATTENTION
        self.wakes.ring()

    def start_over(self) -> None:
        """The node's lock was taken: another agent may have held it, and read on."""
        self._is_new = True
        self.scan_soon()

    def ring(self) -> None:
        """End a `wait`."""
        self.wakes.ring()

    def wait(self, seconds: float) -> None:
        """Until there is something to do, `seconds` at most."""
        began = time.monotonic()
        until = min(began + seconds, self._scan_due, self.consoles.next_round)
        self._take(self.wakes.wait(until - began))
        if (now := time.monotonic()) < until:
            # Woken, often by several at once. A flood of wake-ups must neither keep this busy nor make more rounds.
            is_needed = min(self._scan_due, self.consoles.next_due) <= now
            time.sleep(max(LINGER if is_needed else ROUND, self.consoles.rests_until - now))
            self._take(self.wakes.wait(0))

    @property
    def _scan_due(self) -> float:
        return max(self._next_scan, self._scan_rests_until)

    def step(self) -> None:
        if self._is_new:
            self._is_new = False
            self.consoles.forget_cursors()
        if time.monotonic() >= self._scan_due:
            self._scan()
        if time.monotonic() >= self.consoles.next_round:
            self.consoles.round()

    def _take(self, woken: Woken) -> None:
        self.consoles.read_soon(woken.consoles, woken=True)
        self.consoles.read_soon(woken.readable)
        if woken.states:
            self._next_scan = 0.0

    def _scan(self) -> None:
        began, self._next_scan = time.thread_time(), time.monotonic() + self.scan_every
        servers = self._servers()
        states = self.runtime.states([server.name for server in servers])
        self.consoles.keep(servers)
        for name in (name for name, state in states.items() if state.unit not in ("stopped", "crashed")):
            self.consoles.is_alive(name)
        live = self.consoles.live()
        self.consoles.read_soon({*live, *self.wakes.follow(states, live)})
        known, self._seen = self._seen, {}
        for server in servers:
            seen = self._seen[server.pk] = known.get(server.pk) or _Seen(server)
            seen.server, state = server, states[server.name]
            if state != seen.state or state.unit != server.unit:
                self._changed(seen, state)
            self.revival.consider(server, state)
        if time.monotonic() < self._attentive_until and any(map(_is_on_its_way, self._seen.values())):
            self._next_scan = min(self._next_scan, time.monotonic() + ATTENTIVE_EVERY)
        rest = max(SCAN_REST, SCAN_SHARE * (time.thread_time() - began))
        self._scan_rests_until = time.monotonic() + rest

    def _servers(self) -> list[Server]:
        """What to watch. Files go by name: while a deleted server's are there, a new one of its name has none yet."""
        leaving = Server.objects.filter(node=self.node, put_away_at=None).exclude(deleted_at=None)
        return list(Server.objects.present().filter(node=self.node).exclude(name__in=leaving.values("name")))

    def _changed(self, seen: _Seen, state: UnitState) -> None:
        self.consoles.read_now(seen.server.name)
        server, detail = seen.server, state.detail[:DETAIL_LENGTH]
        # A restart may be too quick for the stop to be seen: then only `since` tells that this is another run.
        is_new_run = state.since not in (None, server.unit_at)
        if is_new_run or (state.unit, detail) != (server.unit, server.unit_detail):
            services.record_unit(server=server, unit=state.unit, detail=detail, at=state.since)
            server.unit = state.unit
        seen.state = state
