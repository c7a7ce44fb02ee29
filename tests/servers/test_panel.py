"""Kick, ban, message and change of map, on a running game; and that no name, text or map becomes a command."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from jobs import streams
from portal.models import User
from servers import games, services
from servers.errors import CommandRefused, PlayerGone
from servers.games.syntax import Syntax, write_chat
from servers.models import AuditEvent, Right, Server
from servers.protocols.status import Listed
from tests.api import Api
from tests.gamedig import gamedig
from tests.games_cache import SECRET, RunningGame, running, send
from tests.stack import wait_for

HTMX = {"HX-Request": "true"}
PANEL = ["players/", "parts/players/", "players/2/ban/?player_name=x"]
BUTTONS = ["players/2/kick/", "players/2/ban/", "say/", "level/"]


@pytest.fixture(scope="module")
def game():
    """The practice game, whose players come but do not leave by themselves: tests name them and then act on them."""
    with running("practice", simulated_players=4, max_players=8) as started:
        wait_for(lambda: "Started map" in started.output, what="the practice game")
        send(started, "demo_leaving 0")
        yield started


@pytest.fixture
def live(sends: None, server: Server, game: RunningGame) -> Server:
    """Alice's server, as if the running game were its."""
    Server.objects.filter(pk=server.pk).update(unit="running", secrets={"rcon": SECRET})
    server.ports.update(number=game.ports["game"])
    return Server.objects.get(pk=server.pk)


@pytest.fixture
def somebody(live: Server, alice: User):
    """A player of it."""
    return wait_for(
        lambda: next(iter(services.list_players(by=alice, server=live)), None), seconds=30, what="somebody playing"
    )


def console(server: Server) -> list[str]:
    return [text for _, _, text in streams.read(server.console_id, after=0, limit=1000)]


def toast(client: Client, url: str, sent: dict[str, str]) -> str:
    return str(json.loads(client.post(url, sent, headers=HTMX).headers["HX-Trigger"])["toast"]["text"])


def test_the_list_agrees_with_an_independent_client(live: Server, alice: User, somebody, game: RunningGame) -> None:
    def agree() -> bool:
        ours = {player.name for player in services.list_players(by=alice, server=live)}
        theirs = gamedig("protocol-valve", game.host, game.ports["game"])
        return ours == {player["name"] for player in theirs["players"]}

    wait_for(agree, seconds=60, what="both to see the same players")


def test_a_player_is_kicked_by_number_and_the_kick_is_audited(live: Server, alice: User, somebody) -> None:
    services.kick_player(by=alice, server=live, player=somebody.id, name=somebody.name)
    assert somebody.id not in {player.id for player in services.list_players(by=alice, server=live)}
    event = AuditEvent.objects.get(action="kick")
    assert (event.actor, event.detail["player"], event.detail["player_name"]) == (alice, somebody.id, somebody.name)
    assert f"> kickid {somebody.id}" in console(live)


def test_who_is_kicked_twice_by_a_double_press_was_kicked(
    client: Client, live: Server, alice: User, bob: User, share, somebody
) -> None:
    share(bob, Right.RCON)
    url, who = f"/servers/{live.name}/players/{somebody.id}/kick/", {"player_name": somebody.name}
    client.force_login(alice)
    for status in (204, 409):
        answer = client.post(url, who, headers=HTMX)
        told = {"text": f"{somebody.name} was kicked.", "kind": "info"}
        assert (answer.status_code, json.loads(answer.headers["HX-Trigger"])["toast"]) == (status, told)
    assert AuditEvent.objects.filter(action="kick").count() == 1
    assert "is not playing any more" in toast(client, url, {"player_name": "Somebody else"})
    assert "is not playing any more" in toast(client, url.replace("kick", "ban"), who)
    assert "was kicked." in client.post(url, who, follow=True).content.decode()
    client.force_login(bob)
    assert "is not playing any more" in toast(client, url, who), "it was not bob who did it"
    AuditEvent.objects.update(at=timezone.now() - timedelta(minutes=1))
    client.force_login(alice)
    assert "is not playing any more" in toast(client, url, who), "that was another press"


def test_a_banned_player_is_written_to_the_list_and_stays_away(live: Server, alice: User, somebody) -> None:
    services.ban_player(by=alice, server=live, player=somebody.id, name=somebody.name)
    assert services.send_command(by=alice, server=live, text="listid").splitlines()[1:] == [somebody.name]
    assert somebody.name not in {player.name for player in services.list_players(by=alice, server=live)}
    assert "> writeid" in console(live)


def test_a_number_given_to_somebody_else_meanwhile_is_spared(live: Server, alice: User, somebody) -> None:
    for player, name in ((somebody.id, "Somebody else"), (9999, somebody.name)):
        with pytest.raises(PlayerGone, match="is not playing any more"):
            services.kick_player(by=alice, server=live, player=player, name=name)
    assert not AuditEvent.objects.filter(action="kick").exists()


def test_a_message_reaches_the_chat_as_one_line(live: Server, alice: User, game: RunningGame) -> None:
    services.say(by=alice, server=live, text="Restart at 10, friends // really")
    wait_for(lambda: "Console: Restart at 10, friends // really" in game.output, what="the message")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('hi"; quit', "hi”, quit"), ("hi; quit", "hi, quit"), ("hi\nquit", "hi quit"), ("naïve $x %s", "naïve $x %s"),
        ('a\\"b', "a/”b"), ("hi\u037e quit", "hi\u037e quit"), ("\u202eevil", "evil"), ("žluťoučký 🎉", "žluťoučký 🎉"),
    ],
)  # fmt: skip
def test_what_a_chat_cannot_hold_is_replaced_and_begins_no_second_command(
    client: Client, live: Server, alice: User, game: RunningGame, text: str, said: str
) -> None:
    client.force_login(alice)
    answer = client.post(f"/servers/{live.name}/say/", {"text": text}, headers=HTMX)
    told = json.loads(answer.headers["HX-Trigger"])["toast"]["text"]
    assert told == "The message was sent." if said == text else f"sent as “{said}”" in told
    wait_for(lambda: f"Console: {said}" in game.output, what="the message")
    assert services.list_players(by=alice, server=live), "the game did not quit"


@pytest.mark.parametrize("text", [" ", "\u200b\n", "x" * 121, "é" * 61])
def test_a_message_of_nothing_or_too_much_is_refused(live: Server, alice: User, text: str) -> None:
    with pytest.raises(CommandRefused):
        services.say(by=alice, server=live, text=text)
    assert not AuditEvent.objects.filter(action="say").exists()


def test_the_map_changes_and_an_unknown_one_is_refused(live: Server, alice: User, game: RunningGame) -> None:
    services.change_level(by=alice, server=live, level="c5m1_waterfront")
    wait_for(
        lambda: gamedig("protocol-valve", game.host, game.ports["game"])["map"] == "c5m1_waterfront",
        seconds=30,
        what="the map",
    )
    for level in ("nowhere", 'c1m1_hotel"; quit', ""):
        with pytest.raises(CommandRefused, match="Pick one of the list"):
            services.change_level(by=alice, server=live, level=level)


def test_the_page_lists_players_and_its_buttons_act(client: Client, live: Server, alice: User, somebody) -> None:
    client.force_login(alice)
    at_once = client.get(f"/servers/{live.name}/players/").content.decode()
    assert "Asking the game…" in at_once
    assert somebody.name not in at_once
    assert f'aria-label="Kick {somebody.name}"' in client.get(f"/servers/{live.name}/players/?ask=1").content.decode()
    page = client.get(f"/servers/{live.name}/parts/players/").content.decode()
    assert f'aria-label="Kick {somebody.name}"' in page
    assert SECRET not in page
    url = f"/servers/{live.name}/players/{somebody.id}/"
    asked = client.get(f"{url}ban/", {"player_name": somebody.name})
    assert f"Ban {somebody.name}, number {somebody.id}?" in asked.content.decode()
    answer = client.post(f"{url}kick/", {"player_name": somebody.name}, headers=HTMX)
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["text"] == f"{somebody.name} was kicked."
    again = client.post(f"{url}kick/", {"player_name": somebody.name}, headers=HTMX)
    assert again.status_code == 409
    assert client.post(f"/servers/{live.name}/say/", {"text": "hello"}, headers=HTMX).status_code == 204
    assert client.post(f"/servers/{live.name}/level/", {"level": "c1m1_hotel"}, headers=HTMX).status_code == 204
    assert client.post(f"/servers/{live.name}/level/", {"level": "/etc"}, headers=HTMX).status_code == 409


def test_a_stopped_server_says_so(client: Client, server: Server, alice: User) -> None:
    client.force_login(alice)
    page = client.get(f"/servers/{server.name}/players/").content.decode()
    assert "is not running. This page shows its players while it runs." in page
    assert 'action="/servers/alices-practice/say/"' not in page
    assert 'action="/servers/alices-practice/level/"' not in page
    part = client.get(f"/servers/{server.name}/parts/players/")
    assert (part.status_code, part.headers["HX-Trigger"]) == (204, "outdated")


def test_the_password_is_in_no_page_no_line_and_no_audit(client: Client, live: Server, alice: User, somebody) -> None:
    client.force_login(alice)
    pages = [client.get(f"/servers/{live.name}/{path}").content.decode() for path in ("", "players/", "settings/")]
    for command in (f"rcon_password {SECRET}", "rcon_password", "cvarlist", "status", f"say {SECRET}"):
        answer = client.post(f"/servers/{live.name}/command/", {"command": command}, headers=HTMX)
        assert answer.status_code == 200
        pages.append(answer.content.decode().replace(command, ""))
    details = [json.dumps(event.detail) for event in AuditEvent.objects.all()]
    assert not any(SECRET in text for text in (*pages, *console(live), *details))


@pytest.mark.parametrize("path", [*PANEL, *BUTTONS])
def test_the_panel_is_for_who_may_send_commands(
    client: Client, server: Server, bob: User, charlie: User, share, path: str
) -> None:
    ask = client.post if path in BUTTONS else client.get
    url = f"/servers/{server.name}/{path}"
    assert ask(url).status_code == 302
    client.force_login(charlie)
    assert ask(url).status_code == 404
    share(bob, Right.CONSOLE, Right.POWER, Right.SETTINGS)
    client.force_login(bob)
    assert ask(url).status_code == 403


def test_who_may_read_the_console_may_send_what_is_safe(client: Client, live: Server, bob: User, share) -> None:
    share(bob, Right.CONSOLE)
    client.force_login(bob)
    url = f"/servers/{live.name}/command/"
    for command in ("status", "maps *", " users "):
        assert client.post(url, {"command": command}, headers=HTMX).status_code == 200
    for command in ("say hi", "status; quit", "maps a b", "statusx", "STATUS", 'maps "x"', "maps\tx", ""):
        assert client.post(url, {"command": command}, headers=HTMX).status_code == 403, command
    page = client.get(f"/servers/{live.name}/").content.decode()
    assert '<option value="status">' in page
    assert "kickid" not in page


def test_who_sees_the_server_alone_may_send_nothing(client: Client, live: Server, bob: User, share) -> None:
    share(bob)
    client.force_login(bob)
    assert client.post(f"/servers/{live.name}/command/", {"command": "status"}).status_code == 403
    assert "rcon-command" not in client.get(f"/servers/{live.name}/").content.decode()


def test_typing_is_helped_with_the_games_commands(client: Client, server: Server, alice: User) -> None:
    client.force_login(alice)
    page = client.get(f"/servers/{server.name}/").content.decode()
    for command in games.get("practice").console.commands:
        assert f'<option value="{command}">' in page


def test_the_api_lists_kicks_and_tells_too(live: Server, alice: User, somebody, game: RunningGame) -> None:
    asks, path = Api(alice), f"/servers/{live.name}"
    roll = asks("get", f"{path}/players").json()
    assert somebody.id in {player["id"] for player in roll["players"]}
    assert (roll["hibernating"], roll["reserved"]) == (False, False)
    assert asks("post", f"{path}/players/{somebody.id}/kick", {"name": "not them"}).status_code == 409
    assert asks("post", f"{path}/players/{somebody.id}/kick", {"name": somebody.name}).status_code == 204
    assert asks("post", f"{path}/say", {"text": "from afar"}).status_code == 204
    assert asks("post", f"{path}/level", {"map": "c2m1_highway"}).status_code == 204
    wait_for(lambda: "Console: from afar" in game.output, what="the message")
    assert asks("post", f"{path}/later", {"verb": "stop"}).status_code == 204
    assert asks("delete", f"{path}/later").status_code == 204


def test_who_has_no_name_is_named_by_number_and_nothing_is_left_unsaid(
    client: Client, live: Server, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(alice)
    answer = client.get(f"/servers/{live.name}/players/2/ban/", follow=True)
    assert "Nobody was banned: pick a player of the list." in answer.content.decode()
    asked = client.get(f"/servers/{live.name}/players/2/ban/", {"player_name": ""}).content.decode()
    assert "Ban (no name), number 2?" in asked
    answer = client.post(f"/servers/{live.name}/players/999/ban/", {"player_name": ""}, headers=HTMX)
    assert answer.status_code == 409
    assert "Whoever had no name is not playing any more" in answer.headers["HX-Trigger"]


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u3164", "\u2800\u2800", "\u0301", "\xa0"])
def test_a_name_that_leaves_no_mark_is_shown_in_words(name: str) -> None:
    assert Listed(id=1, name=name).shown == "(no name)"
    assert Listed(id=1, name=f"{name}x").shown == f"{name}x"


@pytest.mark.parametrize("text", ["Zoë ＂; quit＼", "“hi”\u037e quit", "naïve…", "ﬁ 🎉"])
def test_quakes_console_gets_plain_ascii_that_ends_no_argument(text: str) -> None:
    written = write_chat(text, Syntax.QUAKE)
    assert written.isascii()
    assert written[0] == written[-1] == '"'
    assert not set(written[1:-1]) & set('";\\')
