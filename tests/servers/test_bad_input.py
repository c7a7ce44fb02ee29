"""What goes wrong in a member's hands: each time a sentence, nothing half-made, and another try works.

Names, ports, settings that do not fit and installations that fail: test_services_create.py, test_tasks_install.py.
"""

from functools import partial

import pytest

from servers import games, services
from servers.errors import CommandFailed, CommandRefused
from servers.models import Server
from tests.servers.living import lines_of, settled, state_of
from tests.stack import wait_for

HOSTILE = [
    'He said "hi"; quit',
    "it's $(reboot) `id` && rm -rf / | cat > /x",
    'back\\slash \\" // not a comment',
    "{secret.rcon} %s {0}",
    "ünïcödé ✨",
]


def test_text_with_quotes_and_shell_words_arrives_as_typed_or_is_refused_with_a_sentence(portal, practice, alice):
    portal.start("cluster")
    portal.start("agent")
    arrived = []
    for text in HOSTILE:
        try:
            services.update_settings(by=alice, server=practice, settings={"hostname": text})
        except games.SettingsError as refusal:
            arrived.append(refusal.by_key["hostname"][-1])
            continue
        restart = services.restart_server(by=alice, server=practice)
        assert settled(restart) == "succeeded", restart.error
        wait_for(partial(is_shown_as, practice, text), seconds=30, what=f"the name {text!r}")
        arrived.append(text)
    assert all(given in (text, ".") for given, text in zip(arrived, HOSTILE, strict=True))
    assert state_of(practice).unit == "running"


def is_shown_as(server: Server, name: str) -> bool:
    server.refresh_from_db()
    return server.facts().get("name") == name


@pytest.mark.parametrize("text", ["two\nlines", "carriage\rreturn", "nul\0byte", "bell\a"])
def test_text_of_more_than_one_line_is_refused_and_the_former_stays(alice, server, text):
    services.update_settings(by=alice, server=server, settings={"hostname": "House"})
    with pytest.raises(games.SettingsError) as refusal:
        services.update_settings(by=alice, server=server, settings={"hostname": text})
    assert refusal.value.by_key["hostname"].endswith(".")
    server.refresh_from_db()
    assert server.settings == {"hostname": "House"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Type a command"),
        ("  ", "Type a command"),
        ("x" * 401, "400"),
        ("a\nquit", "one line"),
        ("a\0b", "one line"),
    ],
)
def test_a_bad_command_is_not_sent(alice, server, text, says):
    Server.objects.update(unit="running")
    server.refresh_from_db()
    with pytest.raises(CommandRefused, match=says):
        services.send_command(by=alice, server=server, text=text)
    assert not server.audit.exists()
    assert lines_of(server.console_id) == []


def test_a_command_to_a_stopped_server_says_to_start_it(alice, server):
    with pytest.raises(CommandRefused, match="Start it"):
        services.send_command(by=alice, server=server, text="status")


def test_a_command_without_an_answer_is_shown_to_everybody_who_watches(sends, alice, server):
    Server.objects.update(unit="running", secrets={"rcon": "x" * 24})
    server.refresh_from_db()
    server.ports.update(number=20001)
    with pytest.raises(CommandFailed) as failure:
        services.send_command(by=alice, server=server, text=f"rcon_password {'x' * 24}")
    shown = lines_of(server.console_id)
    assert shown == ["> rcon_password •••", f"! {failure.value}"]
    assert server.audit.get().detail == {"name": server.name, "command": "rcon_password •••"}
    assert server.audit.get().actor == alice


def test_a_game_whose_definition_went_away_is_named_and_its_server_can_still_be_stopped_and_deleted(alice, server):
    Server.objects.update(game="gone")
    server.refresh_from_db()
    with pytest.raises(games.UnknownGame, match="gone"):
        services.start_server(by=alice, server=server)
    services.stop_server(by=alice, server=server)
    services.delete_server(by=alice, server=server)
    server.refresh_from_db()
    assert server.deleted_at
