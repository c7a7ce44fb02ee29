"""Viewers who come to a console that has lines while more are written: none stays behind, none gets a line twice."""

import threading
from collections.abc import Iterator
from random import Random

import pytest
from django.db import connection

from jobs import streams
from jobs.models import Stream
from portal.models import User
from servers.models import Node, Server
from tests.generated import cases, dice
from tests.jobs.sockets import token_of
from tests.load.client import Client
from tests.stack import Stack

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]

RUNS = cases(20, 200)
BACKLOGS = (0, 300, 1005)
COMING, WATCHING = 20, 2
CAUGHT_UP = 3  # seconds without a write, which is sooner than the feed's safety nets would come to help


@pytest.fixture
def address(transactional_db: None, tmp_path) -> Iterator[tuple[str, int]]:  # type: ignore[no-untyped-def]
    limits = {"LEFT4ME_SOCKETS_PER_USER": "1000", "LEFT4ME_SOCKETS_PER_ADDRESS": "1000"}
    with Stack(tmp_path, **limits) as stack:
        stack.start_web()
        yield "127.0.0.1", stack.port


def write_until(everybody_is_there: threading.Event, stream: int, chance: Random) -> None:
    """A batch every few milliseconds, at least one after everybody came."""
    while True:
        last = everybody_is_there.wait(chance.uniform(0.001, 0.02))
        streams.append(stream, ["0 a line of the console"] * chance.randint(1, 10))
        if last:
            connection.close()
            return


def behind_after(address: tuple[str, int], token: str, stream: int, backlog: int, chance: Random) -> tuple[int, int]:
    """How many of the viewers lack lines once the database is idle, and how many lines were lost or doubled."""
    streams.append(stream, ["0 a line of the backlog"] * backlog)
    client, paths, everybody_is_there = Client(address, token), [f"/ws/streams/{stream}/"], threading.Event()
    assert client.open(WATCHING, paths, [backlog], 10) == WATCHING
    writer = threading.Thread(target=write_until, args=(everybody_is_there, stream, chance))
    writer.start()
    try:
        arrived = client.open(COMING, paths, [0, chance.randint(0, backlog)], 10)
    finally:
        everybody_is_there.set()
        writer.join()
    assert arrived == WATCHING + COMING
    client.until(Stream.objects.get(pk=stream).last_seq, CAUGHT_UP)
    seen = client.report()
    client.close()
    return arrived - seen["complete"], seen["lost"] + seen["doubled"]


def test_no_viewer_stays_behind_who_comes_with_a_backlog_while_lines_are_written(
    address: tuple[str, int], alice: User, node: Node
) -> None:
    token, frozen, wrong = token_of(alice), [], 0
    for run in range(RUNS):
        stream = Stream.objects.create().pk
        Server.objects.create(name=f"run-{run}", owner=alice, node=node, game="practice", console_id=stream)
        chance = dice("backlog", run)
        behind, lines = behind_after(address, token, stream, BACKLOGS[run % len(BACKLOGS)], chance)
        frozen += [behind] * bool(behind)
        wrong += lines
    assert wrong == 0, f"{wrong} lines were lost or doubled"
    assert not frozen, f"viewers were left behind in {len(frozen)} of {RUNS} runs: {frozen} of {WATCHING + COMING} each"
