"""Asks running games for map and players. A game that does not answer is shown as silent and never touched."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from servers import games, services
from servers.models import Node, Server
from servers.query import QueryError, QueryResult, query

log = logging.getLogger(__name__)
EVERY = 3.0  # seconds between two questions to a game
TIMEOUT = 2.0
AT_ONCE = 50
SILENT_AFTER = 3  # answers missing in a row before that is shown: a datagram may be lost
LONGEST_PAUSE = 30.0  # between questions to a game that stays silent
TRIFLES_EVERY = 10.0  # seconds between writes when nothing but times and pings changed


@dataclass
class _Asked:
    """What the agent remembers of one running game."""

    due: float = 0.0
    silent: int = 0
    shown: dict[str, Any] = field(default_factory=dict)
    written_at: float = 0.0


class Queries:
    """`step` asks every game that is due, all at the same time, and writes each answer as it comes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._asked: dict[int, _Asked] = {}

    def step(self) -> None:
        running = Server.objects.present().filter(node=self.node, unit=Server.Unit.RUNNING).prefetch_related("ports")
        known, self._asked = self._asked, {}
        due = []
        for server in filter(_can_be_asked, running):
            asked = self._asked[server.pk] = known.get(server.pk) or _Asked()
            if not server.query:  # it started anew
                asked.shown = {}
            if time.monotonic() >= asked.due:
                due.append(server)
        if due:
            for server, answer in asyncio.run(self._ask_all(due)):
                self._note(server, self._asked[server.pk], answer)

    async def _ask_all(self, servers: list[Server]) -> list[tuple[Server, QueryResult | QueryError]]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(server: Server) -> tuple[Server, QueryResult | QueryError]:
            async with slots:
                return server, await self._ask(server)

        return await asyncio.gather(*(ask(server) for server in servers))

    async def _ask(self, server: Server) -> QueryResult | QueryError:
        ports = {port.name: port.number for port in server.ports.all()}
        try:
            return await query(games.get(server.game), self.node.asked_at, ports, timeout=TIMEOUT)
        except QueryError as error:
            return error
        except Exception as error:  # whatever a game sends must cost that game alone
            log.exception("The query of %s failed", server.name)
            return QueryError(f"The game's answer was not understood ({type(error).__name__}).")

    def _note(self, server: Server, asked: _Asked, answer: QueryResult | QueryError) -> None:
        now = time.monotonic()
        if isinstance(answer, QueryError):
            asked.silent += 1
            asked.due = now + min(LONGEST_PAUSE, EVERY * 2 ** max(0, asked.silent - SILENT_AFTER))
            facts: dict[str, Any] = {"ok": False, "error": str(answer)[:300]}
            if asked.silent < SILENT_AFTER:
                return
        else:
            asked.silent, asked.due = 0, now + EVERY
            facts = answer.as_dict()
        changed = steady(facts) != steady(asked.shown)
        if changed or (facts != asked.shown and now - asked.written_at > TRIFLES_EVERY):
            services.record_query(server=server, query=facts, publish=True)
            asked.shown, asked.written_at = facts, now


def _can_be_asked(server: Server) -> bool:
    game = games.all_games().get(server.game)
    return game is not None and game.query is not None


def steady(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts without what changes by itself from one answer to the next."""
    listed = facts.get("list", [])
    players = [{key: value for key, value in player.items() if key not in ("ping", "seconds")} for player in listed]
    return {**facts, "list": players}
