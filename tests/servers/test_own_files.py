"""Config files by hand: what fits, who may, what a start makes of them, and what the table of settings says."""

from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from portal.models import User
from servers import games, own_files, services, truth
from servers.errors import FileChanged, FileInvalid
from servers.models import Right, Server, ServerFile
from servers.runtime import get_runtime
from servers.services.own_files import MOST_FILES
from tests.servers.living import lines_of, ready, settled

SECRET = "0123456789abcdef"


def write(by: User, server: Server, path: str, text: str, was: str | None = None) -> ServerFile:
    return services.write_own_file(by=by, server=server, path=path, text=text, was=was)


def problems(slug: str, path: str, text: str) -> list[str]:
    return own_files.problems(games.get(slug), path, text)


@pytest.mark.parametrize(
    ("slug", "path", "says"),
    [
        ("practice", "server.cfg", ""),
        ("practice", "cfg/x.cfg", ""),
        ("practice", "motd.txt", ""),
        ("practice", "x.cfg", "takes files by hand only at server.cfg, cfg/*.cfg"),
        ("practice", "cfg/deep/x.cfg", "only at"),
        ("practice", "deep/cfg/x.cfg", "only at"),
        ("practice", "practice/world.py", "only at"),
        ("practice", "cfg/../server.cfg", "leads out of its folder"),
        ("practice", "/etc/passwd", "absolute"),
        ("practice", "cfg//x.cfg", "not a name"),
        ("practice", "./motd.txt", "Write it as motd.txt"),
        ("practice", "", "not a name"),
        ("left4dead2", "left4dead2/cfg/cfgogl/zonemod/confogl.cfg", ""),
        ("left4dead2", "left4dead2/host.txt", ""),
        ("left4dead2", "srcds_linux", "only at"),
        ("left4dead2", "left4dead2/addons/sourcemod/configs/admins_simple.ini", "only at"),
    ],
)
def test_only_files_of_the_games_patterns_are_written(slug: str, path: str, says: str) -> None:
    found = own_files.check_path(games.get(slug), path)
    assert says in found if says else found == ""


@pytest.mark.parametrize(
    ("slug", "path", "text", "says"),
    [
        ("practice", "server.cfg", "sv_tags x\nhostname Zoë", ["Line 2, column 12: “ë” is not plain ASCII"]),
        ("practice", "server.cfg", "\ufeffa\u200b", ["Line 1, column 1: character FEFF", "column 3: character 200B"]),
        ("practice", "motd.txt", "Grüße 🎉\n", []),
        ("practice", "motd.txt", "a\x07", ["Line 1, column 2: character 0007 is not text"]),
        ("practice", "motd.txt", "rcon_password is a word", []),
        ("practice", "server.cfg", 'RCON_Password "x"', ["Line 1, column 1: RCON_Password is for the portal alone"]),
        ("practice", "server.cfg", "echo 1; rcon_password x", ["Line 1, column 9"]),
        ("practice", "server.cfg", 'alias a "rcon_password x"', ["Line 1, column 10"]),
        ("practice", "server.cfg", '"rcon_password" x', ["Line 1, column 2"]),
        ("practice", "server.cfg", 'echo "//"; rcon_password x', ["Line 1, column 12"]),
        ("practice", "server.cfg", "// rcon_password x", []),
        ("practice", "server.cfg", "sv_rcon_password_x 1", []),
        ("practice", "cfg/x.cfg", "rcon_password x", ["Line 1"]),
        ("openarena", "usr/lib/openarena-server/baseoa/left4me.cfg", "seta rconpassword x", ["Line 1, column 6"]),
        ("teeworlds", "usr/share/games/teeworlds/left4me.cfg", 'sv_name "Zoë"', []),
        ("teeworlds", "usr/share/games/teeworlds/left4me.cfg", "sv_port 1; EC_PORT 2", ["sv_port", "EC_PORT"]),
        ("teeworlds", "usr/share/games/teeworlds/left4me.cfg", "# sv_port is the portal's", []),
        ("practice", "motd.txt", "x" * (64 << 10), []),
        ("practice", "motd.txt", "ä" * (33 << 10), ["64 KB at most"]),
    ],
)
def test_what_a_text_may_not_hold_is_told_with_line_and_column(
    slug: str, path: str, text: str, says: list[str]
) -> None:
    found = problems(slug, path, text)
    assert len(found) == len(says), found
    assert all(each in sentence for each, sentence in zip(says, found, strict=True))


def test_of_many_problems_a_few_are_told() -> None:
    assert len(problems("practice", "server.cfg", "ü" * 100)) == 5


def test_a_file_is_written_changed_and_deleted_and_the_audit_trail_says_so(server: Server, alice: User) -> None:
    made = write(alice, server, "motd.txt", "one\r\ntwo", was="")
    assert (made.text, made.updated_by) == ("one\ntwo", alice)
    write(alice, server, "motd.txt", "three", was=made.version)
    services.delete_own_file(by=alice, server=server, path="motd.txt", was=None)
    services.delete_own_file(by=alice, server=server, path="motd.txt", was=None)
    assert not server.own_files.exists()
    noted = [(one.actor, one.action, one.detail["path"]) for one in server.audit.order_by("pk")]
    assert noted == [(alice, verb, "motd.txt") for verb in ("write file", "write file", "delete file")]


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(server: Server, alice: User, bob: User) -> None:
    seen = write(alice, server, "motd.txt", "one", was="").version
    for was in ("", "x" * 32):
        with pytest.raises(FileChanged) as caught:
            write(bob, server, "motd.txt", "bob's", was=was)
        assert caught.value.current.text == "one"
    with pytest.raises(FileChanged):
        services.delete_own_file(by=bob, server=server, path="motd.txt", was="")
    services.delete_own_file(by=alice, server=server, path="motd.txt", was=seen)
    with pytest.raises(FileChanged, match="deleted by somebody else"):
        write(bob, server, "motd.txt", "bob's", was=seen)
    assert not server.own_files.exists()


def test_their_number_and_size_are_bounded(server: Server, alice: User) -> None:
    for number in range(MOST_FILES):
        write(alice, server, f"cfg/{number}.cfg", "")
    with pytest.raises(FileInvalid, match="64 files"):
        write(alice, server, "cfg/one-more.cfg", "")
    write(alice, server, "cfg/0.cfg", "still changed")
    with pytest.raises(IntegrityError, match="server_file_bounded"), transaction.atomic():
        ServerFile.objects.create(server=server, path="x", text="ä" * (33 << 10))


def test_a_file_and_a_folder_of_one_name_cannot_both_be(server: Server, alice: User) -> None:
    ServerFile.objects.create(server=server, path="cfg")
    with pytest.raises(FileInvalid, match="cfg is there already"):
        write(alice, server, "cfg/x.cfg", "")


def test_a_clone_has_them_too(server: Server, alice: User, bob: User, share) -> None:
    share(bob, Right.SETTINGS, Right.FILES)
    write(alice, server, "motd.txt", "hello")
    copy, _ = services.clone_server(by=bob, server=server, name="copy")
    assert [(one.path, one.text, one.updated_by) for one in copy.own_files.all()] == [("motd.txt", "hello", bob)]


# The table of settings


def test_the_table_says_what_lines_by_hand_make_of_a_setting(server: Server, alice: User) -> None:
    text = 'sv_tags "first"\n// hostname x\nhostname "By hand" // really\nSV_TAGS last;map c5m1_waterfront\nmap\n'
    write(alice, server, "server.cfg", text + 'sv_visiblemaxplayers 99\nsv_password ""\necho demo_players 3')
    write(alice, server, "cfg/other.cfg", "demo_players 1")
    Server.objects.filter(pk=server.pk).update(settings={"hostname": "Typed", "password": "geheim"})
    rows = {
        row.key: row for row in truth.rows(Server.objects.get(pk=server.pk), games.get("practice"), sees_files=True)
    }
    by_hand = {key: row.next for key, row in rows.items() if row.by_hand == "server.cfg"}
    assert by_hand == {
        "hostname": "By hand", "tags": "last", "map": "The Parish: Waterfront", "max_players": "99", "password": "none",
    }  # fmt: skip
    assert (rows["hostname"].saved, rows["simulated_players"].by_hand) == ("Typed", "")


def test_a_switch_is_read_as_the_game_spells_it(server: Server, alice: User) -> None:
    game = games.get("left4dead2")
    for text, value, word in (("0", True, "yes"), ("1", False, "no"), ("maybe", "maybe", "maybe")):
        file = ServerFile(path="left4dead2/cfg/server.cfg", text=f"sv_lan {text}")
        assert own_files.by_hand(game, [file])["public"].value == value
        setting = game.settings_by_key["public"]
        assert (setting.text(value), truth._words(setting, value)) == (text, word)


def test_the_settings_page_says_where_a_setting_is_set_by_hand(client: Client, server: Server, alice: User) -> None:
    write(alice, server, "server.cfg", "sv_tags by,hand")
    client.force_login(alice)
    page = client.get(f"/servers/{server.name}/settings/").content.decode()
    assert "set by hand in <code>server.cfg</code>" in page
    assert "/own-files/" in page
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": SECRET})
    files = client.get(f"/servers/{server.name}/settings/files/").content.decode()
    assert files.index("rcon_password &quot;•••&quot;") < files.index("sv_tags by,hand")


def test_a_start_writes_them_and_lines_by_hand_win(portal, practice: Server, alice: User) -> None:
    write(alice, practice, "server.cfg", "sv_tags by,hand")
    write(alice, practice, "motd.txt", "Hällo")
    left_out = ServerFile.objects.create(server=practice, path="practice/world.py", text="raise SystemExit")
    portal.start("cluster")
    portal.start("agent")
    start = services.start_server(by=alice, server=practice)
    assert settled(start) == "succeeded", start.error
    ready(practice)
    assert any(
        line.startswith("practice/world.py, written by hand, is left out.") for line in lines_of(start.stream_id)
    )
    state = get_runtime().states([practice.name])[practice.name]
    tree = Path(f"/proc/{state.pid}/root{get_runtime().tree(practice.name)}")
    assert (tree / "motd.txt").read_text() == "Hällo\n"
    assert (tree / "server.cfg").read_text().endswith('"\nsv_tags by,hand\n')
    answers = services.ask_settings(by=alice, server=practice)
    assert answers["tags"] == "by,hand"
    game = games.get("practice")
    practice = Server.objects.select_related("blueprint").get(pk=practice.pk)
    assert not any(one.strays for one in truth.compare(practice, game, answers))
    assert not any(row.changes for row in truth.rows(practice, game, sees_files=True))
    assert {one.path: one.is_started for one in practice.own_files.all()} == {
        "motd.txt": True, "practice/world.py": False, "server.cfg": True,
    }  # fmt: skip
    left_out.delete()
    write(alice, practice, "server.cfg", "sv_tags other")
    assert [row.key for row in truth.rows(practice, game, sees_files=True) if row.changes] == ["tags"]
    assert practice.own_files.filter(is_started=False).get().path == "server.cfg"
