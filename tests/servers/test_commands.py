"""Console commands on their way from the web process to the server's node and back, whatever the game does."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import connection

from portal.models import User
from portal.tokens import create_token
from servers import services
from servers.errors import CommandFailed, TooManyCommands
from servers.models import ConsoleCommand, Membership, Node, Right, Server
from servers.services import sending
from tests.servers.hostile_games import CONSOLE, FLOODS_ITS_ANSWERS
from tests.servers.living import lines_of, settled
from tests.stack import Stack, wait_for


@pytest.fixture
def live(server: Server) -> Server:
    """Alice's server, as if it ran."""
    Server.objects.filter(pk=server.pk).update(unit="running", secrets={"rcon": "s3cret"})
    server.refresh_from_db()
    return server


@contextmanager
def silent_game(server: Server) -> Iterator[Callable[[], socket.socket]]:
    """Listens where the server's game would and says nothing; gives what accepts the next connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as game:
        game.settimeout(10)
        server.ports.update(number=game.getsockname()[1])
        yield lambda: game.accept()[0]


def post(url: str, bearer: dict[str, str], server: Server, command: str) -> tuple[int, dict[str, Any]]:
    """The status and body of what the API answers to a command."""
    request = Request(
        f"{url}/api/v1/servers/{server.name}/command", data=json.dumps({"command": command}).encode(),
        headers=bearer | {"Content-Type": "application/json"},
    )  # fmt: skip
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def bearer_of(user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {create_token(user=user, name='bot')[1]}"}


def test_a_game_that_does_not_answer_keeps_nobody_from_the_database(sends, live, alice, stack: Stack) -> None:
    stack.environment["LEFT4ME_DB_POOL"] = "1"
    url, bearer = stack.start_web(), bearer_of(alice)
    with silent_game(live) as accept, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, url, bearer, live, "status")
        silent = accept()
        assert json.load(urlopen(Request(f"{url}/api/v1/me", headers=bearer), timeout=4))["username"] == "alice"
        assert not waiting.done()
        status, problem = waiting.result(30)
        assert (status, problem["detail"][:31]) == (504, "The game did not answer within ")
        silent.close()


def test_a_member_has_few_commands_under_way_and_nobody_else_is_held_up(sends, live, alice, bob, share) -> None:
    share(bob, Right.RCON)
    outcomes: list[type] = []

    def send() -> None:
        try:
            services.send_command(by=alice, server=live, text="status")
        except (CommandFailed, TooManyCommands) as error:
            outcomes.append(type(error))
        connection.close()

    with silent_game(live) as accept:
        threads = [threading.Thread(target=send) for _ in range(30)]
        for thread in threads:
            thread.start()
        held = [accept() for _ in range(sending.AT_ONCE)]
        wait_for(lambda: len(outcomes) == 30 - sending.AT_ONCE, what="the refusals")
        assert set(outcomes) == {TooManyCommands}
        asked = sending.ask(by=bob, server=live, lines=["status"], shows=False)
        held.append(accept())  # bob's is sent although alice's wait
        for game in held:
            game.close()
        for thread in threads:
            thread.join(20)
        with pytest.raises(CommandFailed, match="cannot be reached"):
            sending.collect(asked)
    assert outcomes.count(CommandFailed) == sending.AT_ONCE
    assert not ConsoleCommand.objects.exists()


def test_without_an_agent_it_is_said_and_nothing_is_sent_later(transactional_db, live, alice, node: Node) -> None:
    with pytest.raises(CommandFailed, match="takes no commands at the moment"):
        services.send_command(by=alice, server=live, text="quit")
    assert services.take_commands(node=node, most=10) == []
    assert not ConsoleCommand.objects.exists()


def test_a_command_is_given_out_once_in_order_and_not_after_its_time(transactional_db, live, alice, node) -> None:
    asked = [sending.ask(by=alice, server=live, lines=[line], shows=True) for line in ("first", "second", "third")]
    ConsoleCommand.objects.filter(pk=asked[1]).update(expires_at="2026-01-01T00:00Z")
    assert [command.lines for command in services.take_commands(node=node, most=1)] == [["first"]]
    assert [command.lines for command in services.take_commands(node=node, most=9)] == [["third"]]
    assert services.take_commands(node=node, most=9) == []
    assert not ConsoleCommand.objects.filter(pk=asked[1]).exists()  # for which nobody came within a minute
    assert services.take_commands(node=Node.objects.create(slug="other", name="Other"), most=9) == []


def test_two_agents_never_send_the_same_command(transactional_db, live, alice, node) -> None:
    for _ in range(sending.AT_ONCE):
        sending.ask(by=alice, server=live, lines=["status"], shows=False)
    given: list[int] = []

    def take() -> None:
        given.extend(command.pk for command in services.take_commands(node=node, most=sending.AT_ONCE))
        connection.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == sorted(ConsoleCommand.objects.values_list("pk", flat=True))


def test_an_answer_arrives_although_the_session_that_wakes_was_lost(transactional_db, live, alice, node) -> None:
    asked = sending.ask(by=alice, server=live, lines=["status"], shows=False)
    with ThreadPoolExecutor(1) as pool:
        collected = pool.submit(sending.collect, asked)
        [command] = wait_for(lambda: services.take_commands(node=node, most=1), what="the command")
        with connection.cursor() as db:
            wait_for(lambda: _end_listeners(db), what="the session that listens")
        services.answer_command(command=command, answers=["here"])
        assert collected.result(10) == ["here"]
        pool.submit(connection.close)


def _end_listeners(db: Any) -> int:
    db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN left4me_answers'")
    return len(db.fetchall())


def test_a_flood_of_empty_packets_holds_up_neither_pages_nor_games(portal: Stack, scripted, alice, bob) -> None:
    flooding, calm = scripted(FLOODS_ITS_ANSWERS, more=CONSOLE), scripted(FLOODS_ITS_ANSWERS, more=CONSOLE)
    portal.start("cluster")
    portal.start("agent")
    portal.environment["LEFT4ME_DB_POOL"] = "2"
    url = portal.start_web()
    for server in (flooding, calm):
        assert settled(services.start_server(by=alice, server=server)) == "succeeded"
        wait_for(lambda server=server: "listening" in lines_of(server.console_id), what="its console")
    Membership.objects.create(server=calm, user=bob, rights=[Right.VIEW, Right.RCON])
    bearer, others = bearer_of(alice), bearer_of(bob)
    with ThreadPoolExecutor(30) as pool:
        attack = [pool.submit(post, url, bearer, flooding, "flood") for _ in range(30)]
        while not all(command.done() for command in attack):
            assert json.load(urlopen(Request(f"{url}/api/v1/me", headers=others), timeout=10))["username"] == "bob"
            assert post(url, others, calm, "status") == (200, {"answer": "all is well"})
        statuses = [command.result()[0] for command in attack]
    assert set(statuses) <= {429, 504} and 504 in statuses
    assert post(url, bearer, flooding, "status")[0] == 200
    assert not ConsoleCommand.objects.exists()
