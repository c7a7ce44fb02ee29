"""Stop and restart later: when nobody plays, or after a countdown told in chat; called off, expired, never twice."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from jobs import streams
from jobs.models import Job
from portal.models import User
from servers import services
from servers.agent import waiting
from servers.agent.waiting import Waiting
from servers.errors import NotNow
from servers.models import AuditEvent, Node, Pending, Right, Server
from tests.games_cache import SECRET, running
from tests.servers.living import lines_of, ready, sees, settled, state_of
from tests.stack import game_port, wait_for

HTMX = {"HX-Request": "true"}
RESTART, STOP = Pending.Verb.RESTART, Pending.Verb.STOP
EMPTY = {"ok": True, "players": 2, "bots": 2, "map": "c1m1_hotel"}
FULL = EMPTY | {"players": 3}


def see(server: Server, **values: object) -> Server:
    Server.objects.filter(pk=server.pk).update(**values)
    server.refresh_from_db()
    return server


@pytest.fixture
def live(server: Server) -> Server:
    return see(server, unit="running", query=FULL)


@pytest.fixture
def agent(node: Node, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setattr(waiting, "EMPTY_FOR", 0.0)
    return Waiting(node)


def asked_for() -> list[str]:
    return list(Job.objects.order_by("pk").values_list("kind", flat=True))


def console(server: Server) -> str:
    return "\n".join(text for _, _, text in streams.read(server.console_id, after=0, limit=1000))


def due(server: Server, seconds: float) -> Pending:
    """Move the countdown to where so many seconds are left."""
    Pending.objects.update(due_at=timezone.now() + timedelta(seconds=seconds))
    return Pending.objects.get()


def test_it_is_restarted_once_only_bots_play(live: Server, alice: User, agent: Waiting) -> None:
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    agent.step()
    assert asked_for() == []
    see(live, query=EMPTY)
    agent.step()
    agent.step()
    assert asked_for() == ["installations.install", "servers.restart"]
    assert Job.objects.get(kind="servers.restart").requested_by == alice
    assert not Pending.objects.exists()
    assert "restarts once nobody plays: alice asked for it." in console(live)
    assert "It is time: the server restarts." in console(live)


def test_a_moment_without_players_is_not_enough(live: Server, alice: User, node: Node) -> None:
    agent = Waiting(node)
    services.wait_until_empty(by=alice, server=live, verb=STOP)
    for facts in (EMPTY, FULL, EMPTY):
        see(live, query=facts)
        agent.step()
    assert asked_for() == []


@pytest.mark.parametrize("facts", [{}, {"ok": False, "error": "silent"}])
def test_a_silent_game_counts_as_full(live: Server, alice: User, agent: Waiting, facts: dict[str, object]) -> None:
    services.wait_until_empty(by=alice, server=see(live, query=facts), verb=STOP)
    agent.step()
    assert asked_for() == []
    assert Pending.objects.exists()


def test_nothing_waits_for_a_server_that_stopped_or_for_ever(live: Server, alice: User, agent: Waiting) -> None:
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    see(live, unit="stopped")
    agent.step()
    assert not Pending.objects.exists()
    see(live, unit="running", query=FULL)
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    Pending.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    agent.step()
    assert not Pending.objects.exists()
    assert asked_for() == []
    assert "No restart: the server does not run any more." in console(live)
    assert "No restart: it was waited for too long." in console(live)


def test_a_crash_in_between_is_waited_out(live: Server, alice: User, agent: Waiting) -> None:
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    see(live, unit="restarting", query={})
    agent.step()
    assert Pending.objects.exists()


def test_players_are_told_each_step_once_and_then_it_stops(
    sends: None, live: Server, alice: User, agent: Waiting
) -> None:
    with running("practice") as game:
        wait_for(lambda: "Started map" in game.output, what="the practice game")
        see(live, secrets={"rcon": SECRET})
        live.ports.update(number=game.ports["game"])
        services.count_down(by=alice, server=live, verb=STOP, after=timedelta(minutes=5))
        for left in (300, 290, 60, 59, 31, 9.9, 9.5):
            due(live, left)
            agent.step()
        due(live, -1)
        agent.step()
        told = [line for line in game.output.splitlines() if line.startswith("Console: ")]
    assert told == [f"Console: The server stops in {when}." for when in ("5 minutes", "1 minute", "10 seconds")]
    assert asked_for() == ["servers.stop"]
    assert not AuditEvent.objects.filter(action="say").exists()


def test_a_game_that_cannot_be_told_is_stopped_all_the_same(
    sends: None, live: Server, alice: User, agent: Waiting
) -> None:
    live.ports.update(number=game_port())  # where nobody listens
    services.count_down(by=alice, server=see(live, secrets={"rcon": SECRET}), verb=STOP, after=timedelta(minutes=1))
    agent.step()
    wait_for(lambda: "! The game's console cannot be reached." in console(live), what="the failure on the console")
    due(live, 0)
    agent.step()
    assert asked_for() == ["servers.stop"]


def test_a_new_wish_replaces_the_old_and_calling_off_ends_it(live: Server, alice: User, agent: Waiting) -> None:
    services.wait_until_empty(by=alice, server=live, verb=STOP)
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    assert Pending.objects.get().verb == RESTART
    assert services.cancel_waiting(by=alice, server=live)
    assert not services.cancel_waiting(by=alice, server=live)
    see(live, query=EMPTY)
    agent.step()
    assert asked_for() == []
    assert "alice called it off" in console(live)


def test_two_agents_press_once(live: Server, alice: User) -> None:
    pending = services.wait_until_empty(by=alice, server=live, verb=STOP)
    services.carry_out(pending=pending)
    services.carry_out(pending=pending)
    assert asked_for() == ["servers.stop"]


def test_what_was_replaced_meanwhile_is_not_carried_out(live: Server, alice: User) -> None:
    old = services.wait_until_empty(by=alice, server=live, verb=STOP)
    services.wait_until_empty(by=alice, server=live, verb=RESTART)
    services.carry_out(pending=old)
    assert asked_for() == []


def test_what_cannot_be_waited_for_is_refused(server: Server, alice: User) -> None:
    with pytest.raises(NotNow, match="is not running"):
        services.wait_until_empty(by=alice, server=server, verb=STOP)
    live = see(server, unit="running")
    for after in (timedelta(seconds=1), timedelta(hours=2)):
        with pytest.raises(NotNow, match="Choose between"):
            services.count_down(by=alice, server=live, verb=STOP, after=after)
    see(server, game="forgotten")
    with pytest.raises(NotNow, match="nobody would be warned"):
        services.count_down(by=alice, server=live, verb=STOP, after=timedelta(minutes=1))
    with pytest.raises(NotNow, match="nobody knows"):
        services.wait_until_empty(by=alice, server=live, verb=STOP)


def test_it_is_asked_for_shown_and_called_off_on_the_page(client: Client, live: Server, alice: User) -> None:
    client.force_login(alice)
    url = f"/servers/{live.name}/"
    assert "Stop or restart later" in client.get(url).content.decode()
    assert client.post(f"{url}later/", {"verb": "restart", "when": "0"}, headers=HTMX).status_code == 204
    page = client.get(url).content.decode()
    assert "once nobody plays. Given up at" in page
    assert "You asked for it." in page
    assert client.post(f"{url}later/", {"verb": "delete", "when": "0"}, headers=HTMX).status_code == 409
    assert client.post(f"{url}later/cancel/", headers=HTMX).status_code == 204
    assert client.post(f"{url}later/cancel/", headers=HTMX).status_code == 409
    assert not Pending.objects.exists()


def test_only_who_may_stop_it_may_do_so_later(client: Client, live: Server, bob: User, charlie: User, share) -> None:
    for path in ("later/", "later/cancel/"):
        url = f"/servers/{live.name}/{path}"
        client.logout()
        assert client.post(url).status_code == 302
        client.force_login(charlie)
        assert client.post(url).status_code == 404
    share(bob, Right.RCON)
    client.force_login(bob)
    assert client.post(f"/servers/{live.name}/later/", {"verb": "stop", "when": "0"}).status_code == 403
    assert "Stop or restart later" not in client.get(f"/servers/{live.name}/").content.decode()


def test_a_real_game_is_told_and_stopped_and_no_worker_waits(portal, practice, alice) -> None:
    portal.start("cluster")
    portal.start("agent")
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    ready(practice)
    services.count_down(by=alice, server=practice, verb=STOP, after=timedelta(seconds=12))
    assert not Job.objects.active().exists()
    sees(practice, "stopped", seconds=40)
    assert state_of(practice).pid is None
    lines = lines_of(practice.console_id)
    assert "Console: The server stops in 10 seconds." in lines
    assert "Console: The server stops in 5 seconds." in lines
