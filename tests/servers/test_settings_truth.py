"""The table of settings, what the game itself says of them, and the config files: all without a secret."""

import json

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from portal.models import User
from servers import games, services, truth
from servers.models import Blueprint, Right, Server
from servers.protocols.cvars import read_value

HTMX = {"HX-Request": "true"}
SECRET = "0123456789abcdef"


@pytest.mark.parametrize(
    ("protocol", "answer", "value"),
    [
        ("source-rcon", '"sv_tags" = "a,b" ( def. "" )\n - tags', "a,b"),
        ("source-rcon", '"SV_Tags" = ""', ""),
        ("source-rcon", 'Unknown command "sv_tags"', None),
        ("source-rcon", '"sv_tags_x" = "1"', None),
        ("quake3-rcon", '"sv_tags" is:"^1Red^7" default:"x^7"', "Red"),
        ("quake3-rcon", '"sv_tags" is:"0", the default', "0"),
        ("teeworlds-econ", "[Console]: Value: 20", "20"),
        ("teeworlds-econ", "", None),
    ],
)
def test_a_value_is_read_from_the_consoles_answer(protocol: str, answer: str, value: str | None) -> None:
    assert read_value(protocol, "sv_tags", answer) == value


@given(st.sampled_from(["source-rcon", "quake3-rcon", "teeworlds-econ"]), st.text(max_size=300))
def test_no_answer_breaks_the_reader(protocol: str, answer: str) -> None:
    for text in (answer, '"x" = "' + answer, "Value: " + answer):
        value = read_value(protocol, "x", text)
        assert value is None or value.isprintable()


def test_each_place_that_has_a_say_is_shown(server: Server, blueprint: Blueprint) -> None:
    Blueprint.objects.filter(pk=blueprint.pk).update(settings={"max_players": 6})
    game = games.get("practice")
    started = game.complete_settings({"max_players": 4, "password": "geheim"})
    Server.objects.filter(pk=server.pk).update(
        unit="running", started_with=started, settings={"max_players": 5, "map": "c5m1_waterfront"}
    )
    rows = {row.key: row for row in truth.rows(Server.objects.get(pk=server.pk), game, sees_files=True)}
    slots = rows["max_players"]
    assert (slots.default, slots.blueprint, slots.saved, slots.next, slots.running) == ("8", "6", "5", "5", "4")
    assert {key for key, row in rows.items() if row.changes} == {"max_players", "map", "password"}
    assert rows["map"].next == "The Parish: Waterfront"
    assert (rows["password"].running, rows["password"].next) == ("•••", "none")
    Server.objects.filter(pk=server.pk).update(unit="stopped")
    assert not any(row.changes for row in truth.rows(Server.objects.get(pk=server.pk), game, sees_files=True))


def test_a_start_from_before_a_setting_was_there_is_no_change(server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", started_with={})
    assert not any(
        row.changes for row in truth.rows(Server.objects.get(pk=server.pk), games.get("practice"), sees_files=True)
    )


def test_config_files_are_shown_without_the_portals_secrets(client: Client, server: Server, alice: User) -> None:
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": SECRET}, settings={"hostname": "<b>Friday</b>"})
    client.force_login(alice)
    page = client.get(f"/servers/{server.name}/settings/files/").content.decode()
    assert "hostname &quot;&lt;b&gt;Friday&lt;/b&gt;&quot;" in page
    assert "rcon_password &quot;•••&quot;" in page
    assert SECRET not in page


def test_config_files_that_cannot_be_written_say_why(client: Client, server: Server, alice: User) -> None:
    Server.objects.filter(pk=server.pk).update(settings={"hostname": "Zoë"}, secrets={"rcon": SECRET})
    client.force_login(alice)
    assert "may not hold ë (column 3)" in client.get(f"/servers/{server.name}/settings/files/").content.decode()


def test_asking_a_server_that_does_not_run_says_so(client: Client, server: Server, alice: User) -> None:
    client.force_login(alice)
    answer = client.post(f"/servers/{server.name}/settings/ask/", headers=HTMX)
    assert answer.status_code == 409
    assert "is not running" in json.loads(answer.headers["HX-Trigger"])["toast"]["text"]


@pytest.mark.parametrize(
    ("method", "path"), [("get", "parts/truth/"), ("get", "settings/files/"), ("post", "settings/ask/")]
)
def test_they_are_for_who_may_change_settings(
    client: Client, server: Server, bob: User, charlie: User, share, method: str, path: str
) -> None:
    ask, url = getattr(client, method), f"/servers/{server.name}/{path}"
    assert ask(url).status_code == 302
    client.force_login(charlie)
    assert ask(url).status_code == 404
    share(bob, Right.RCON, Right.POWER)
    client.force_login(bob)
    assert ask(url).status_code == 403


def test_the_api_tells_and_takes_the_settings_of_the_next_start(
    client: Client, server: Server, blueprint: Blueprint, alice: User
) -> None:
    from portal.tokens import create_token

    Blueprint.objects.filter(pk=blueprint.pk).update(settings={"max_players": 6})
    services.set_following(by=alice, server=server, follow=True)
    bearer = {"Authorization": f"Bearer {create_token(user=alice, name='test')[1]}"}
    url = f"/api/v1/servers/{server.name}"
    read = client.get(url, headers=bearer).json()
    assert (read["follows_blueprint"], read["settings"]["max_players"]) == (True, 8)
    client.patch(url, {"settings": {"max_players": None}}, content_type="application/json", headers=bearer)
    assert client.get(url, headers=bearer).json()["settings"] == {"max_players": 6}
