"""The trial of a new version with the layers in use: a plugin that it loses keeps the version from being promoted."""

import asyncio
import contextlib

import pytest
from django.test import Client
from django.utils import timezone

from portal.models import User
from servers import games, rcon, services, trial, trial_stacks
from servers.errors import VersionRefused
from servers.models import AuditEvent, Blueprint, Installation, Layer, Server
from tests.servers.layered import layer
from tests.servers.living import lines_of
from tests.servers.toys import Toys, toys
from tests.stack import wait_for

__all__ = ["toys"]
PLUGINS = "addons/sourcemod/plugins"
TANK = {f"{PLUGINS}/tank.smx": "name: Tank Rush\nversion: 2.1\nauthor: Ann\nneeds: tank\n"}
WITCH = {f"{PLUGINS}/witch.smx": "name: Witch Party\nneeds: witch\n", "addons/metamod/sm.vdf": "name: SourceMod\n"}


@pytest.fixture
def installed(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> Toys:
    """The practice game installed once; nobody waits long for plugins that do not come."""
    monkeypatch.setattr(trial, "LIST_SECONDS", 2)
    monkeypatch.setattr(trial, "EVERY", 0.2)
    assert toys.update().state == "succeeded"
    return toys


def with_layers(toys: Toys, name: str, *layers: Layer) -> Server:
    """A server that was never started, with these layers, the lowest first."""
    blueprint, _ = Blueprint.objects.get_or_create(slug="practice", defaults={"game": "practice"})
    made = services.create_server(by=toys.alice, name=name, blueprint=blueprint)
    for one in layers:
        services.add_to_stack(by=toys.alice, holder=made, layer=one)
    return made


def test_a_plugin_that_loads_no_more_stops_the_promotion_until_an_administrator_insists(
    installed: Toys, client: Client, mod: User
) -> None:
    first = installed.current
    server = with_layers(installed, "raid", layer(installed.alice, "Raids", TANK | WITCH))
    installed.change("gamedata.txt", "lobby witch")
    job = installed.update()
    held = Installation.objects.get(state="held")
    sentence = f"With the layers Raids (raid), Tank Rush loads on {first.version} and not on {held.version}."
    assert (job.state, installed.current, held.detail) == ("failed", first, sentence)
    assert job.error.startswith(f"{sentence} The version was tried and is not used.")
    assert any("Plugins on" in line and "SourceMod, Tank Rush, Witch Party" in line for line in lines_of(job.stream_id))
    assert installed.on_disk() == {first.version, held.version}

    moderator = User.objects.create_user("moderator", is_staff=True)
    with pytest.raises(VersionRefused, match="Only an administrator may promote it anyway"):
        services.promote_version(by=moderator, installation=held)
    client.force_login(moderator)
    shown = client.get("/installations/").content.decode()
    assert "Tried, not promoted" in shown and "Promote anyway" not in shown
    client.force_login(mod)
    assert "Promote anyway</button>" in client.get("/installations/").content.decode()
    client.post(f"/installations/{held.pk}/promote/")
    assert (installed.current, installed.current.state) == (held, "ready")
    assert AuditEvent.objects.get(action="promote").detail["anyway"] == sentence
    started = installed.run(services.start_server(by=installed.alice, server=server))
    assert started.state == "succeeded", started.error


def test_nothing_lost_is_nothing_said_and_what_failed_before_may_fail_again(installed: Toys) -> None:
    broken = layer(installed.alice, "Broken", {f"{PLUGINS}/old.smx": "name: Old\nneeds: dinosaurs\n"})
    with_layers(installed, "zoo", layer(installed.alice, "Raids", TANK | WITCH), broken)
    installed.change("gamedata.txt", "tank witch lobby more")
    job = installed.update()
    assert job.state == "succeeded", job.error
    tried = [line for line in lines_of(job.stream_id) if line.startswith(("Trying the layers", "Plugins on"))]
    assert tried[0].startswith("Trying the layers Broken, Raids (zoo) on version ")
    assert len(tried) == 2 and "Old" not in tried[1]


def test_the_three_stacks_of_most_servers_are_tried_once_each(installed: Toys) -> None:
    layers = [layer(installed.alice, f"L{number}", {f"{number}.txt": "x"}) for number in range(4)]
    for number, one in enumerate(layers):
        for copy in range(1 + (number > 0)):
            with_layers(installed, f"s{number}-{copy}", one)
    unbuilt = Layer.objects.create(slug="new", name="New", game="practice", kind="files", owner=installed.alice)
    with_layers(installed, "unbuilt", unbuilt)
    gone = with_layers(installed, "gone", layers[0])
    services.delete_server(by=installed.alice, server=gone)
    with_layers(installed, "bare")
    installed.change("notes.txt", "new")
    job = installed.update()
    assert job.state == "succeeded", job.error
    tried = [line.split(" on version")[0] for line in lines_of(job.stream_id) if "Trying the layers" in line]
    assert tried == [f"Trying the layers L{number} (s{number}-0, s{number}-1)" for number in (1, 2, 3)]


def test_layers_under_which_the_new_version_does_not_run_stop_it_too(installed: Toys) -> None:
    world = (installed.source / "world.py").read_text()
    with_layers(installed, "old-world", layer(installed.alice, "Old world", {"practice/world.py": world}))
    installed.change("world.py", world + "\nNEW = 1\n")
    main = (installed.source / "__main__.py").read_text()
    installed.change(
        "__main__.py", main.replace("from .world import World, chance", "from .world import NEW, World, chance")
    )
    job = installed.update()
    assert job.state == "failed"
    assert job.error.startswith("No server with the layers Old world (old-world) runs on version ")
    assert Installation.objects.filter(state="held").exists()


def test_layers_that_run_on_neither_version_are_no_reason_to_wait(installed: Toys) -> None:
    with_layers(installed, "broken", layer(installed.alice, "Broken", {"practice/world.py": "syntax error"}))
    installed.change("notes.txt", "new")
    job = installed.update()
    assert job.state == "succeeded", job.error
    assert any("either, so there is nothing to compare" in line for line in lines_of(job.stream_id))


def test_a_version_that_is_held_back_is_tried_anew_once_the_layer_was_mended(installed: Toys) -> None:
    server = with_layers(installed, "raid", layer(installed.alice, "Raids", TANK))
    installed.change("gamedata.txt", "lobby witch")
    assert installed.update().state == "failed"
    held = Installation.objects.get(state="held")
    assert installed.run(services.clean_up_game(by=None, node=installed.node, game="practice", unused=False))
    assert held.version in installed.on_disk(), "it can still be promoted"
    mended = layer(installed.alice, "Mended", {f"{PLUGINS}/tank.smx": "name: Tank Rush\n"})
    services.replace_stack(by=installed.alice, holder=server, layers=[mended])
    job = installed.update()
    assert job.state == "succeeded", job.error
    assert installed.current.version == held.version
    assert not Installation.objects.filter(state="held").exists()


def test_a_version_that_is_held_back_is_not_taken_by_a_start_and_can_be_cleaned_up(installed: Toys) -> None:
    first = installed.current
    with_layers(installed, "raid", layer(installed.alice, "Raids", TANK))
    installed.change("gamedata.txt", "")
    installed.update()
    assert installed.server("other").installation == first
    job = installed.run(services.clean_up_game(by=installed.alice, node=installed.node, game="practice"))
    assert job.state == "succeeded", job.error
    assert list(Installation.objects.all()) == [first]
    assert installed.on_disk() == {first.version}


def test_the_practice_game_lists_plugins_as_metamod_and_sourcemod_do(installed: Toys) -> None:
    made = with_layers(installed, "listing", layer(installed.alice, "Raids", TANK | WITCH))
    installed.change("gamedata.txt", "witch")
    assert installed.update().state == "failed"
    services.promote_version(
        by=User.objects.create_superuser("root"), installation=Installation.objects.get(state="held")
    )
    bare = installed.server("bare")
    assert installed.run(services.start_server(by=installed.alice, server=made)).state == "succeeded"

    def ask(server: Server, command: str) -> str:
        ports = dict(server.ports.values_list("name", "number"))
        game = games.get("practice")
        return asyncio.run(rcon.command(game, "127.0.0.1", ports, server.secrets["rcon"], command))

    def listens(server: Server) -> bool:
        with contextlib.suppress(rcon.RconError):
            return bool(ask(server, "status"))
        return False

    for server in (made, bare):
        wait_for(lambda server=server: listens(server), seconds=30, what=f"the console of {server.name}")
    assert ask(made, "meta list").splitlines() == ["Listing 1 plugins:", "  [01] SourceMod (1.0) by nobody"]
    assert ask(made, "sm plugins list").splitlines() == [
        "[SM] Listing 2 plugins:",
        "  01 <Failed> tank.smx",
        '  02 "Witch Party" (1.0) by nobody',
        "Errors:",
        "tank.smx (Tank Rush): gamedata lacks tank",
    ]
    assert ask(bare, "meta list") == 'Unknown command "meta"\n'


@pytest.mark.parametrize("game", ["left4dead2", "practice"])
@pytest.mark.parametrize(
    ("command", "answer", "running"),
    [
        (
            "meta list",
            "Listing 4 plugins:\n  [01] SourceMod (1.12.0.7200) by AlliedModders LLC\n  [02] <Failed>\n"
            "  [03] Tickrate (L4D2) (1.4) by ProdigySim\n  [04] No version\n  [05] <Paused> Left4DHooks (1.0) by X\n",
            {"SourceMod", "Tickrate (L4D2)", "No version"},
        ),
        ("meta list", 'Unknown command "meta"\n', set()),
        (
            "sm plugins list",
            '[SM] Listing 5 plugins:\n  01 "Admin File Reader" (1.12.0.7200) by AlliedModders LLC\n'
            '  2 "Confogl\'s (new) Mod" (2.4) by A, "B"\n  03 <Failed> zonemod.smx\n  04 Disabled: "Nextmap" (1) by C\n'
            '  05 <Error> "Ready Up" (9) by D\n  06 "Bare"\nErrors:\nzonemod.smx: Native "X" was not found\n',
            {"Admin File Reader", "Confogl's (new) Mod", "Bare"},
        ),
        ("sm plugins list", "[SM] No plugins loaded\n", set()),
    ],
)
def test_lists_are_read_as_both_print_them(game: str, command: str, answer: str, running: set[str]) -> None:
    (known,) = (one for one in games.get(game).plugins if one.command == command)
    assert known.read(answer) == running


def test_stacks_in_use_are_read_in_one_query(installed: Toys, django_assert_num_queries) -> None:
    for number in range(5):
        with_layers(installed, f"s{number}", layer(installed.alice, f"L{number}", {"a": str(number)}))
    version = Installation.objects.select_related("node").get()
    with django_assert_num_queries(1):
        assert len(trial_stacks.stacks_in_use(version)) == 3


@pytest.mark.parametrize("who", ["nobody", "stranger", "suspended"])
def test_strangers_promote_nothing(client: Client, node, charlie: User, who: str) -> None:
    held = Installation.objects.create(node=node, game="practice", version="2", state="held")
    if who != "nobody":
        client.force_login(charlie)
    if who == "suspended":
        User.objects.update(suspended_at=timezone.now())
    assert client.post(f"/installations/{held.pk}/promote/").status_code == (403 if who == "stranger" else 302)
    held.refresh_from_db()
    assert (held.state, held.is_current) == ("held", False)
