"""Asks running games for map and players. A game that does not answer is shown as silent and never touched."""

import logging
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from servers import games, services
from servers.agent.conversations import Conversations
from servers.models import Node, Server
from servers.query import QueryError, QueryResult, query

log = logging.getLogger(__name__)
EVERY = 3.0  # seconds between two questions to a game
TIMEOUT = 2.0  # for one game
LOOK_EVERY = 0.5  # seconds between two looks for games that are due
AT_ONCE, OF_AN_OWNER = 100, 20  # games that are asked at the same time: a socket each
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
    """`step` writes the answers that came and begins to ask the games that are due; it waits for none of them.

    `wait` and `ring` are the bell of the agent's loop, which rings at each answer.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._asked: dict[int, _Asked] = {}
        self._under_way: dict[int, int] = {}  # servers that are asked now, and their owners
        self._answers: deque[tuple[Server, QueryResult | QueryError]] = deque()
        self._looks_at = 0.0
        self._rung = threading.Event()
        self._conversations = Conversations("queries-sender")

    def wait(self, seconds: float, /) -> None:
        self._rung.wait(min(seconds, max(0.0, self._looks_at - time.monotonic())))

    def ring(self) -> None:
        self._rung.set()

    def step(self) -> None:
        self._rung.clear()
        while self._answers:
            server, answer = self._answers.popleft()
            self._under_way.pop(server.pk)
            if asked := self._asked.get(server.pk):
                self._note(server, asked, answer)
        if time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + LOOK_EVERY
            self._ask(self._due())

    def close(self) -> None:
        """Ask nothing more."""
        self._conversations.close()

    def _due(self) -> list[Server]:
        """The games to ask, those first that are due the longest."""
        running = Server.objects.present().filter(node=self.node, unit=Server.Unit.RUNNING).prefetch_related("ports")
        servers = list(filter(_can_be_asked, running))
        self._asked = {server.pk: self._asked.get(server.pk) or _Asked() for server in servers}
        for server in servers:
            if not server.query:  # it was started again
                self._asked[server.pk].shown = {}
        due = [server for server in servers if time.monotonic() >= self._asked[server.pk].due]
        return sorted(due, key=lambda server: self._asked[server.pk].due)

    def _ask(self, due: list[Server]) -> None:
        """As many as there is room for, also for each owner: silent games of one leave the others room."""
        at_once = Counter(self._under_way.values())
        for server in due:
            is_free = len(self._under_way) < AT_ONCE and at_once[server.owner_id] < OF_AN_OWNER
            if is_free and server.pk not in self._under_way:
                at_once[server.owner_id] += 1
                self._under_way[server.pk] = server.owner_id
                self._conversations.start(self._converse(server))

    async def _converse(self, server: Server) -> None:
        self._answers.append((server, await self._answer(server)))
        self.ring()

    async def _answer(self, server: Server) -> QueryResult | QueryError:
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
