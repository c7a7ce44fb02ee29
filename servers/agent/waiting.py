"""Watches what waits for a server to be empty or for its announced moment, and presses the button when it is time."""

import time

from django.utils import timezone

from servers import services
from servers.models import Node, Pending, Server

STEPS = (3600, 1800, 600, 300, 60, 30, 10, 5)  # seconds left at which players are told
EMPTY_FOR = 10.0  # seconds nobody must have played: who is just joining has no name yet


class Waiting:
    """`step` is called once a second."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._empty_since: dict[int, float] = {}

    def step(self) -> None:
        waiting = Pending.objects.filter(server__node=self.node).select_related("server__node", "by")
        known, self._empty_since = self._empty_since, {}
        for pending in waiting:
            if why := _hopeless(pending):
                services.give_up(pending=pending, why=why)
            elif pending.due_at:
                _count_down(pending)
            elif _is_empty(pending.server):
                since = self._empty_since[pending.pk] = known.get(pending.pk, time.monotonic())
                if time.monotonic() - since >= EMPTY_FOR:
                    services.carry_out(pending=pending)


def _hopeless(pending: Pending) -> str:
    """Why it cannot come about any more, in a sentence; empty while it can."""
    if pending.server.deleted_at or pending.server.unit in (Server.Unit.STOPPED, Server.Unit.CRASHED):
        return "the server does not run any more."
    if timezone.now() > pending.expires_at:
        return "it was waited for too long. Ask again."
    return ""


def _is_empty(server: Server) -> bool:
    """Whether the game says that nobody but bots plays. A silent game counts as full: `queries.py` sees to that."""
    facts = server.facts()
    return bool(facts) and facts["players"] <= facts.get("bots", 0)


def _count_down(pending: Pending) -> None:
    assert pending.due_at
    left = (pending.due_at - timezone.now()).total_seconds()
    if left <= 0:
        services.carry_out(pending=pending)
        return
    told = pending.told if pending.told is not None else STEPS[0] + 1
    passed = [step for step in STEPS if left <= step + 0.5 and step < told]
    if passed:
        services.tell_players(pending=pending, left=min(passed))
