"""Following a blueprint and copying it: what reaches a server at its next start, and what never does."""

import pytest
from django.test import Client

from portal.models import User
from servers import games, services, truth
from servers.errors import NotNow
from servers.models import AuditEvent, Blueprint, Right, Server
from tests.servers.living import ready, settled


def make(alice: User, blueprint: Blueprint, *, follow: bool, **settings: object) -> Server:
    return services.create_server(by=alice, name="follower", blueprint=blueprint, settings=settings, follow=follow)


def change(blueprint: Blueprint, **settings: object) -> None:
    Blueprint.objects.filter(pk=blueprint.pk).update(settings=settings)


def next_start(server: Server) -> dict[str, object]:
    return games.get(server.game).complete_settings(Server.objects.get(pk=server.pk).chosen)


@pytest.fixture
def blueprint(blueprint: Blueprint, node) -> Blueprint:  # type: ignore[no-untyped-def]
    change(blueprint, max_players=6, hostname="Club")
    blueprint.refresh_from_db()
    return blueprint


def test_a_follower_takes_changes_but_keeps_what_it_chose_itself(alice: User, blueprint: Blueprint) -> None:
    server = make(alice, blueprint, follow=True, hostname="Mine", max_players=6, map="c1m1_hotel")
    assert server.settings == {"hostname": "Mine"}
    change(blueprint, max_players=9, hostname="New club", map="c5m1_waterfront")
    coming = next_start(server)
    assert (coming["max_players"], coming["hostname"], coming["map"]) == (9, "Mine", "c5m1_waterfront")


def test_a_copy_stays_as_it_was_made(alice: User, blueprint: Blueprint) -> None:
    server = make(alice, blueprint, follow=False)
    change(blueprint, max_players=9)
    assert next_start(server)["max_players"] == 6


def test_saving_the_form_unchanged_does_not_pin_what_the_blueprint_says(alice: User, blueprint: Blueprint) -> None:
    server = make(alice, blueprint, follow=True)
    services.update_settings(by=alice, server=server, settings=next_start(server) | {"simulated_players": 2})
    server.refresh_from_db()
    assert server.settings == {"simulated_players": 2}
    services.update_settings(by=alice, server=server, settings={})
    assert next_start(server)["max_players"] == 6


@pytest.mark.parametrize("own", [{}, {"max_players": 3}, {"max_players": 8}, {"hostname": "Club"}])
def test_beginning_and_ending_changes_no_setting(alice: User, blueprint: Blueprint, own: dict[str, object]) -> None:
    server = make(alice, blueprint, follow=False)
    Server.objects.filter(pk=server.pk).update(settings=own)
    before = next_start(server)
    services.set_following(by=alice, server=server, follow=True)
    assert Server.objects.get(pk=server.pk).follows_blueprint
    assert next_start(server) == before
    services.set_following(by=alice, server=server, follow=False)
    assert next_start(server) == before
    change(blueprint, max_players=20)
    assert next_start(server) == before
    assert AuditEvent.objects.filter(action__in=["follow", "stop following"]).count() == 2


def test_when_the_blueprint_goes_its_followers_keep_their_settings(
    client: Client, alice: User, mod: User, blueprint: Blueprint
) -> None:
    server = make(alice, blueprint, follow=True, hostname="Mine")
    before = next_start(server)
    client.force_login(mod)
    client.post(f"/admin/servers/blueprint/{blueprint.pk}/delete/", {"post": "yes"})
    assert not Blueprint.objects.exists()
    assert next_start(server) == before
    with pytest.raises(NotNow, match="nothing to follow"):
        services.set_following(by=alice, server=server, follow=True)


def test_the_page_shows_what_the_next_start_would_change(client: Client, alice: User, blueprint: Blueprint) -> None:
    server = make(alice, blueprint, follow=True)
    started = next_start(server)
    Server.objects.filter(pk=server.pk).update(unit="running", started_with=started)
    client.force_login(alice)
    url = f"/servers/{server.name}/settings/"
    assert "at the next start" not in client.get(f"/servers/{server.name}/parts/truth/").content.decode()
    change(blueprint, max_players=9, hostname="Club")
    page = client.get(url).content.decode()
    assert "1 change at the next start" in page
    assert "It follows <strong>Practice</strong>" in page
    client.post(f"{url}follow/")
    assert not Server.objects.get(pk=server.pk).follows_blueprint
    client.post(f"{url}follow/", {"follow": "1"})
    assert Server.objects.get(pk=server.pk).follows_blueprint


def test_it_is_chosen_when_a_server_is_made(client: Client, alice: User, blueprint: Blueprint) -> None:
    client.force_login(alice)
    form = {"blueprint": "practice", "name": "friday", "set-hostname": "Club", "set-max_players": "6"}
    client.post("/new-server/", form | {"set-map": "c1m1_hotel", "follow": "on"})
    made = Server.objects.get(name="friday")
    assert made.follows_blueprint
    assert "max_players" not in made.settings


def test_only_who_may_change_settings_may_follow(
    client: Client, server: Server, bob: User, charlie: User, share
) -> None:
    url = f"/servers/{server.name}/settings/follow/"
    client.force_login(charlie)
    assert client.post(url).status_code == 404
    share(bob, Right.POWER)
    client.force_login(bob)
    assert client.post(url).status_code == 403


def test_a_changed_blueprint_reaches_the_game_when_it_is_restarted(portal, practice, alice, blueprint) -> None:  # type: ignore[no-untyped-def]
    portal.start("cluster")
    portal.start("agent")
    services.set_following(by=alice, server=practice, follow=True)
    change(blueprint, max_players=11)
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    ready(practice)
    assert practice.started_with["max_players"] == 11
    answers = services.ask_settings(by=alice, server=practice)
    assert answers["max_players"] == "11"
    assert not any(one.strays for one in truth.compare(practice, games.get("practice"), answers))
    change(blueprint, max_players=12)
    services.send_command(by=alice, server=practice, text="sv_visiblemaxplayers 7")
    practice = Server.objects.select_related("blueprint").get(pk=practice.pk)
    [strays] = [
        one
        for one in truth.compare(practice, games.get("practice"), services.ask_settings(by=alice, server=practice))
        if one.strays
    ]
    assert (strays.value, strays.expected) == ("7", "11")
    assert [row.key for row in truth.rows(practice, games.get("practice"), sees_files=True) if row.changes] == [
        "max_players"
    ]
