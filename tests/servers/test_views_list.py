"""The list: whose servers are on it, what each card says, and what it costs."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job, Stream
from portal.models import User
from servers import services
from servers.models import Node, Right, Server, ServerPort

MOST_QUERIES = 8


def page(client: Client, path: str = "/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def more_servers(owner: User, node: Node, count: int) -> None:
    for number in range(count):
        made = Server.objects.create(
            name=f"event-{number}", owner=owner, node=node, game="practice", console=Stream.objects.create()
        )
        ServerPort.objects.create(server=made, node=node, name="game", number=28000 + number)


def test_without_servers_it_says_what_to_do(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "You have no server yet" in page(client)
    assert "/new-server/" in page(client)


def test_it_lists_own_and_shared_servers_but_no_others(
    client: Client, alice: User, bob: User, charlie: User, server: Server, share
) -> None:
    share(bob)
    for user, listed in ((alice, True), (bob, True), (charlie, False)):
        client.force_login(user)
        assert ("alices-practice" in page(client)) is listed
    client.force_login(bob)
    assert "alice’s server" in page(client)


def test_moderators_see_their_own_first_and_everybodys_when_asked(client: Client, mod: User, server: Server) -> None:
    client.force_login(mod)
    assert "alices-practice" not in page(client)
    assert "alices-practice" in page(client, "/?all")


def test_members_cannot_ask_for_everybodys(client: Client, charlie: User, server: Server) -> None:
    client.force_login(charlie)
    assert "alices-practice" not in page(client, "/?all")
    assert "alices-practice" not in page(client, "/parts/servers/?all")


@pytest.mark.parametrize("count", [0, 49])
def test_it_costs_as_many_queries_for_one_server_as_for_fifty(
    client: Client, alice: User, node: Node, server: Server, count: int
) -> None:
    more_servers(alice, node, count)
    client.force_login(alice)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert page(client).count("data-copy=") == count + 1
    assert len(queries) <= MOST_QUERIES


def test_long_lists_come_in_pages(client: Client, alice: User, node: Node) -> None:
    more_servers(alice, node, 61)
    client.force_login(alice)
    assert page(client).count("data-copy=") == 60
    assert page(client, "/?page=2").count("data-copy=") == 1
    assert page(client, "/?page=nonsense").count("data-copy=") == 60


def test_a_card_says_what_is_under_way_and_what_it_waits_for(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    assert ">Stopped<" in page(client)
    services.start_server(by=alice, server=server)
    shown = page(client)
    assert ">Starting<" in shown
    assert "Waiting for another job: Install Practice (demonstration)." in shown
    assert "Start alices-practice" not in shown
    assert "Stop alices-practice" in shown


def test_a_card_tells_a_job_of_its_own_server_from_a_turn_that_did_not_come(
    client: Client, alice: User, server: Server
) -> None:
    client.force_login(alice)
    stop = services.stop_server(by=alice, server=server)
    assert "Waiting for its turn: no worker is free yet." in page(client)
    Job.objects.filter(pk=stop.pk).update(state="running", started_at=timezone.now())
    start = services.start_server(by=alice, server=server)
    Job.objects.filter(pk=start.after_id).update(state="succeeded", finished_at=timezone.now())
    assert "Waiting for another job: Stop alices-practice." in page(client)
    assert "comes first" not in page(client, f"/servers/{server.name}/"), "what it follows is done"
    Job.objects.filter(pk=stop.pk).update(state="succeeded", finished_at=timezone.now())
    assert "Waiting for its turn: no worker is free yet." in page(client)


def test_a_running_servers_card_has_its_players_and_map(client: Client, alice: User, server: Server) -> None:
    answer = {"ok": True, "map": "<b>town</b>", "players": 3, "max_players": 8, "list": []}
    Server.objects.filter(pk=server.pk).update(unit="running", query=answer)
    client.force_login(alice)
    shown = page(client)
    assert "3<small>/8 players</small>" in shown
    assert "&lt;b&gt;town&lt;/b&gt;" in shown


def test_the_players_table_shows_names_scores_and_times(client: Client, alice: User, server: Server) -> None:
    players = [{"name": "<i>zoey</i>", "score": 0, "seconds": 4020.5}, {"name": "", "score": None, "seconds": None}]
    answer = {"ok": True, "map": "x", "players": 2, "max_players": 8, "list": players}
    Server.objects.filter(pk=server.pk).update(unit="running", query=answer)
    client.force_login(alice)
    shown = page(client, f"/servers/{server.name}/")
    for cell in ("&lt;i&gt;zoey&lt;/i&gt;", ">0<", ">1 h 7 min<", "(joining)"):
        assert cell in shown


def test_join_is_there_for_running_steam_games_alone(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    Server.objects.filter(pk=server.pk).update(unit="running")
    assert "steam://" not in page(client), "the practice game is none that Steam knows"
    Server.objects.filter(pk=server.pk).update(game="left4dead2")
    assert 'href="steam://connect/127.0.0.1:27015"' in page(client)
    Server.objects.filter(pk=server.pk).update(unit="stopped")
    assert "steam://" not in page(client)


def test_who_may_not_press_sees_no_button(client: Client, bob: User, server: Server, share) -> None:
    membership = share(bob)
    client.force_login(bob)
    assert "Start alices-practice" not in page(client)
    membership.rights.append(Right.POWER)
    membership.save()
    assert "Start alices-practice" in page(client)


def test_a_server_of_a_game_that_is_gone_is_still_listed(client: Client, alice: User, server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(game="forgotten")
    client.force_login(alice)
    assert "forgotten" in page(client)
    assert client.get(f"/servers/{server.name}/").status_code == 200
    assert "is not defined on this portal any more" in page(client, f"/servers/{server.name}/settings/")


def test_a_silent_machine_is_told(client: Client, alice: User, server: Server, node: Node) -> None:
    client.force_login(alice)
    Node.objects.update(agent_seen_at=timezone.now() - timedelta(minutes=5))
    assert "has not reported since" in page(client, f"/servers/{server.name}/")
    Node.objects.update(agent_seen_at=timezone.now())
    assert "has not reported since" not in page(client, f"/servers/{server.name}/")


def test_the_server_page_costs_few_queries_however_long_its_history(
    client: Client, alice: User, server: Server
) -> None:
    for number in range(40):
        Job.objects.create(
            kind="servers.stop", subject=server.topic, title=f"Stop {number}", node="local", state="succeeded",
            stream=Stream.objects.create(), requested_by=alice, started_at=timezone.now(), finished_at=timezone.now(),
        )  # fmt: skip
    client.force_login(alice)
    for path, most in (("", 10), ("parts/head/", 8), ("parts/side/", 9), ("history/", 10)):
        with CaptureQueriesContext(connection) as queries:
            page(client, f"/servers/{server.name}/{path}")
        assert len(queries) <= most, [query["sql"] for query in queries]


def test_a_servers_page_says_why_the_game_does_not_answer(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    Server.objects.filter(pk=server.pk).update(unit=Server.Unit.RUNNING, query={})
    assert "not answering yet" in page(client, f"/servers/{server.name}/")
    why = "The game&#x27;s answer was not understood: a &lt;text&gt; does not end."
    error = "The game's answer was not understood: a <text> does not end."
    Server.objects.filter(pk=server.pk).update(query={"ok": False, "error": error})
    shown = page(client, f"/servers/{server.name}/")
    assert "not answering yet" not in shown
    assert shown.count(why) == 2  # beside the state, and where the players would be
