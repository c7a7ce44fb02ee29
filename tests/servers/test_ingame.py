"""Rights inside the game: members with a Steam id, written between two marks into a file that the layers bring."""

import os
from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from jobs import worker
from jobs.models import Job
from portal.models import User
from servers import games, ingame, services, steam_ids
from servers.games.mods import Admins
from servers.layers import stack
from servers.models import Right, Server
from servers.provenance import below
from servers.runtime import get_runtime
from tests.servers.layered import layer
from tests.servers.living import lines_of
from tests.stack import wait_for

PATH = "addons/sourcemod/configs/admins_simple.ini"
ADMINS = games.get("left4dead2").admins
SHIPPED = b'// shipped \xe9\r\n"STEAM_1:0:7" "z"'
ALICE, BOB = 76561197960287930, 76561197960265729
ASKING = f"""
[admins]
path = "{PATH}"
line = '"{{steam.id2}}" "{{flags}}"'
owner = "99:z"
rights = {{ power = "bg", rcon = "bcd" }}
"""
SHOW = f"""
import os, time
print("there:", os.path.exists({PATH!r}))
if os.path.exists({PATH!r}):
    print(*open({PATH!r}, errors="replace").read().splitlines(), sep="\\n")
print("ready")
time.sleep(60)
"""


def started(server: Server) -> list[str]:
    """Start it here and return what the game printed."""
    job = services.restart_server(by=server.owner, server=server)
    worker.run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error

    def printed() -> list[str]:
        lines, _ = get_runtime().read_console(server.name, "")
        latest = lines[len(lines) - lines[::-1].index("there: True") - 1 :] if "there: True" in lines else lines
        return latest if "ready" in latest else []

    return list(wait_for(printed, seconds=15, what="the game's lines"))


@pytest.fixture
def shown(scripted: Callable[..., Server], alice: User) -> Server:
    """Alice's server, whose game prints the file."""
    User.objects.filter(pk=alice.pk).update(steam_id=ALICE)
    return scripted(SHOW, more=ASKING)


def test_members_are_written_into_the_file_and_what_the_layers_have_there_stays(
    shown: Server, alice: User, bob: User, charlie: User, mod: User
) -> None:
    low = layer(alice, "Low", {PATH: "// the lower one\n"}, shown.game)
    high = layer(alice, "High", {PATH: SHIPPED}, shown.game)
    for one in (low, high):
        services.add_to_stack(by=alice, holder=shown, layer=one)
    User.objects.filter(pk=bob.pk).update(steam_id=BOB)
    User.objects.filter(pk=mod.pk).update(steam_id=BOB + 1)
    services.share_server(by=alice, server=shown, user=bob, rights=[Right.POWER, Right.RCON])
    services.share_server(by=alice, server=shown, user=charlie, rights=[Right.RCON])
    text = started(shown)
    assert text[1:3] == ["// shipped �", '"STEAM_1:0:7" "z"']
    assert text[3:-1] == [
        "// left4me: begin",
        '"STEAM_1:1:0" "bcdg" // bob',
        '"STEAM_1:0:11101" "99:z" // alice',
        "// left4me: end",
    ]
    assert any(
        "Rights inside the game: bob bcdg, alice 99:z." in line for line in lines_of(Job.objects.first().stream_id)
    )
    assert (stack.folder(high.build.digest) / PATH).read_bytes() == SHIPPED, "a layer is never written into"

    services.unshare_server(by=alice, server=shown, user=bob)
    assert not any("bob" in line for line in started(shown)[1:])


def test_without_its_folder_in_a_layer_there_is_no_file(shown: Server, alice: User) -> None:
    services.add_to_stack(by=alice, holder=shown, layer=layer(alice, "Other", {"addons/readme.txt": "x"}, shown.game))
    assert started(shown)[:2] == ["there: False", "ready"]


def test_a_layer_that_has_the_folder_and_not_the_file_is_enough(shown: Server, alice: User) -> None:
    folder = PATH.rpartition("/")[0]
    services.add_to_stack(by=alice, holder=shown, layer=layer(alice, "Core", {f"{folder}/core.cfg": "x"}, shown.game))
    assert started(shown)[1] == "// left4me: begin"


def test_where_files_come_from_names_the_config_for_it_only_with_its_folder_in_a_layer(
    shown: Server, alice: User
) -> None:
    def suppliers() -> list[list[str]]:
        found = below.tree(shown, below.sources(shown, mounted=False), below.Asked(text="admins_simple"))
        return [[name for name, _ in one.suppliers] for one in found]

    services.add_to_stack(by=alice, holder=shown, layer=layer(alice, "Other", {"addons/readme.txt": "x"}, shown.game))
    assert suppliers() == []
    services.add_to_stack(by=alice, holder=shown, layer=layer(alice, "High", {PATH: SHIPPED}, shown.game))
    assert suppliers() == [[below.CONFIG, "High"]]


@pytest.mark.parametrize("kind", ["large", "link", "device"])
def test_a_file_that_cannot_be_read_is_left_alone_and_the_game_starts(shown: Server, alice: User, kind: str) -> None:
    made = layer(alice, "Odd", {PATH: b"x" * (ingame.MOST_BYTES + 1) if kind == "large" else b"x"}, shown.game)
    file = stack.folder(made.build.digest) / PATH
    if kind != "large":
        file.unlink()
        file.symlink_to("/etc/passwd") if kind == "link" else os.mkfifo(file)
    services.add_to_stack(by=alice, holder=shown, layer=made)
    job = services.start_server(by=alice, server=shown)
    worker.run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    assert any(f"Nobody was given rights inside the game: {PATH}" in line for line in lines_of(job.stream_id))


@pytest.mark.parametrize(
    ("before", "around"),
    [
        (b"", (b"", b"")),
        (b"a\n", (b"a\n", b"")),
        (b"a", (b"a\n", b"")),
        (b"a\n// left4me: begin\nold\n// left4me: end\nb\n", (b"a\n", b"b\n")),
        (b"a\r\n// left4me: begin\r\nold\r\n// left4me: end\r\nb", (b"a\r\n", b"b")),
        (b"// left4me: begin\n// left4me: end", (b"", b"")),
        (b"// left4me: begin\nno end\n", (b"// left4me: begin\nno end\n", b"")),
        (b"// left4me: end\n// left4me: begin\n", (b"// left4me: end\n// left4me: begin\n", b"")),
    ],
)
def test_the_block_takes_its_own_place_or_the_end(before: bytes, around: tuple[bytes, bytes]) -> None:
    block = b'// left4me: begin\n"STEAM_1:0:11101" "99:z" // a_b__\n// left4me: end\n'
    people = [ingame.Entitled(ALICE, 'a"b\né', "99:z")]
    assert ingame.put_block(before, ADMINS, people) == around[0] + block + around[1]


def test_flags_follow_from_rights_and_a_shared_account_has_what_both_have(
    server: Server, alice: User, bob: User, charlie: User, share
) -> None:
    User.objects.filter(pk=bob.pk).update(steam_id=BOB)
    User.objects.filter(pk=charlie.pk).update(steam_id=BOB)
    share(bob, Right.CONSOLE)
    share(charlie, Right.POWER, Right.SETTINGS)

    def flags() -> list[tuple[str, str]]:
        return [(one.name, one.flags) for one in ingame.entitled(Server.objects.get(), ADMINS)]

    assert flags() == [("charlie", "bghl")], "to read the console is worth nothing in the game"
    User.objects.filter(pk=alice.pk).update(steam_id=BOB)
    assert flags() == [("alice/charlie", "99:z")]
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert flags() == [("charlie", "bghl")]


@pytest.mark.parametrize(
    "wrong", ['"{flags}"', '"{steam.id2}"', '"{steam.id2}" "{flags}" {name}', "{steam.id4} {flags}"]
)
def test_a_definition_has_to_say_who_gets_which_flags(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"needs \{flags\} and one of"):
        Admins(path="a/b.ini", line=wrong, owner="z")


@pytest.mark.parametrize("path", ["../a/b.ini", "/a/b.ini", "b.ini", "a\\b/c.ini"])
def test_a_definition_names_a_file_in_a_folder_of_the_game(path: str) -> None:
    with pytest.raises(ValueError, match="has to be"):
        Admins(path=path, line="{steam.id2} {flags}", owner="z")


@pytest.mark.parametrize(
    "text",
    [
        "76561197960287930", " STEAM_0:0:11101 ", "STEAM_1:0:11101", "[U:1:22202]", "U:1:22202",
        "https://steamcommunity.com/profiles/76561197960287930", "steamcommunity.com/profiles/76561197960287930/",
    ],
)  # fmt: skip
def test_a_steam_id_is_read_in_every_way_it_is_written(text: str) -> None:
    assert steam_ids.parse(text) == ALICE
    assert steam_ids.spellings(ALICE) == {"id2": "STEAM_1:0:11101", "id3": "[U:1:22202]", "id64": str(ALICE)}


@pytest.mark.parametrize(
    "text",
    [
        "", "alice", "7656119796028793", "76561197960265728", "76561202255233024", "STEAM_1:2:1", "STEAM_2:0:1",
        "[U:1:0]", "STEAM_1:1:9999999999", "[g:1:4]", "７６５６１１９７９６０２８７９３０", "1\n",
        "76561197960287930" * 30, "https://steamcommunity.com/id/76561197960287930", "https://evil.example/profiles/76561197960287930",
    ],
)  # fmt: skip
def test_what_is_no_persons_steam_id_is_refused_with_a_sentence(client: Client, alice: User, text: str) -> None:
    with pytest.raises(steam_ids.NotASteamId, match=r"\.$"):
        steam_ids.parse(text)
