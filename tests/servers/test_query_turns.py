"""Games are asked beside each other: one that never answers costs its own answers and nobody else's."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from jobs.models import Stream
from portal.models import User
from servers import services
from servers.agent import queries
from servers.agent.loop import Loop
from servers.agent.queries import Queries
from servers.models import Node, Server, ServerPort
from servers.protocols.answer import QueryResult
from tests.stack import wait_for

ANSWERS = 27015  # the port of the one game that answers


class Games:
    """All games that are asked; `asked` counts by port."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    async def query(self, game: object, host: str, ports: dict[str, int], *, timeout: float) -> QueryResult:
        self.asked[ports["game"]] += 1
        if ports["game"] != ANSWERS:
            await asyncio.Event().wait()
        return QueryResult(name="", map=f"map {self.asked[ANSWERS]}", players=0, max_players=8, bots=0)


@pytest.fixture
def asking(transactional_db: None, monkeypatch: pytest.MonkeyPatch, node: Node) -> Games:
    """Games that are due again at once."""
    games = Games()
    monkeypatch.setattr(queries, "query", games.query)
    monkeypatch.setattr(queries, "EVERY", 0.0)
    monkeypatch.setattr(queries, "LOOK_EVERY", 0.01)
    return games


@pytest.fixture
def loop(asking: Games, node: Node) -> Iterator[Loop]:
    """The agent's, which the test starts."""
    ours, may_run = Queries(node), threading.Event()
    made = Loop("queries", ours.step, 0.01, may_run, bell=ours)
    may_run.set()
    yield made
    made.stop()
    made.join(10)
    ours.close()


def running(server: Server, number: int) -> None:
    """One more running server like `server`, on the port `number`."""
    made = Server.objects.create(
        name=f"silent-{number}", owner=server.owner, node=server.node, blueprint=server.blueprint, game=server.game,
        console=Stream.objects.create(), unit="running", unit_at=timezone.now(),
    )  # fmt: skip
    ServerPort.objects.create(server=made, node=server.node, name="game", number=number)


@pytest.fixture
def silent(server: Server, bob: User) -> int:
    """How many games of Alice's never answer; the one that does is Bob's."""
    count = queries.AT_ONCE + 1
    for number in range(count):
        running(server, 28000 + number)
    Server.objects.filter(pk=server.pk).update(owner=bob, unit="running")
    return count


def test_a_game_that_answers_is_asked_on_while_all_of_another_members_are_silent(
    asking: Games, loop: Loop, silent: int, server: Server
) -> None:
    loop.start()
    wait_for(lambda: asking.asked[ANSWERS] > 3, what="the fourth question to the game that answers")
    wait_for(lambda: Server.objects.get(pk=server.pk).facts().get("map", "").startswith("map "), what="its answer")
    del asking.asked[ANSWERS]
    assert set(asking.asked.values()) == {1}
    assert len(asking.asked) == queries.OF_AN_OWNER < silent


def test_an_answer_that_could_not_be_written_is_asked_for_again(
    asking: Games, node: Node, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running")
    record, writes = services.record_query, Mock(side_effect=[OperationalError("away"), None])
    monkeypatch.setattr(services, "record_query", lambda **values: writes() or record(**values))
    ours = Queries(node)

    def fails() -> bool:
        with suppress(OperationalError):
            ours.step()
        return bool(writes.called)

    wait_for(fails, what="an answer that is not written")
    wait_for(lambda: ours.step() or Server.objects.get(pk=server.pk).facts(), what="the next answer")
    ours.close()
