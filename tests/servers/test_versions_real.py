"""With the real OpenArena: a second version is installed, tried and used beside one on which somebody plays."""

import os
import shutil
from pathlib import Path

import pytest

from servers import services
from servers.models import Blueprint, Installation, Server
from tests.games_cache import CACHE, installed
from tests.servers.host import digest
from tests.servers.living import lines_of, sees, settled, state_of
from tests.stack import BASE, Stack, game_port

__all__ = ["installed"]
pytestmark = pytest.mark.games


@pytest.fixture
def packages(portal: Stack, settings, installed) -> None:
    """What an earlier test downloaded, and ports of this test's own in the game's definition."""
    installed("openarena")
    (settings.STATE_DIR / "apt").mkdir()
    shutil.copytree(CACHE / "apt" / "state", settings.STATE_DIR / "apt" / "state", ignore_dangling_symlinks=True)
    shutil.copytree(CACHE / "apt" / "archives", settings.STATE_DIR / "apt" / "archives", copy_function=os.link)
    define(portal)


def define(portal: Stack, *more: str) -> None:
    """The portal's own definition but for its ports, and with `more` packages: then it is another version."""
    text = Path(BASE, "servers/games/openarena.toml").read_text()
    port = game_port()
    text = text.replace("from = 27960", f"from = {port}").replace("to = 28059", f"to = {min(port + 9, 65535)}")
    added = "".join(f'\n  "{name}",' for name in more)
    text = text.replace('\n  "openarena-088-data",', f'\n  "openarena-088-data",{added}')
    Path(portal.environment["LEFT4ME_GAMES_DIR"], "openarena.toml").write_text(text)


def started(alice, blueprint: Blueprint, name: str) -> Server:
    made = services.create_server(by=alice, name=name, blueprint=blueprint)
    job = services.start_server(by=alice, server=made)
    assert settled(job, 300) == "succeeded", job.error
    made.refresh_from_db()
    return made


@pytest.mark.usefixtures("packages")
def test_openarena_is_updated_and_rolled_back_while_another_server_runs_on_the_first_version(portal, alice, mod, node):
    portal.start("cluster")
    portal.start("agent")
    arena = Blueprint.objects.create(slug="arena", name="Arena", game="openarena")
    played = started(alice, arena, "played")
    first = Installation.objects.get(is_current=True)
    assert played.installation == first
    sees(played, "running")
    before, pid = digest(services.folder(first)), state_of(played).pid

    define(portal, "teeworlds-data")
    update = services.install_game(by=mod, node=node, game="openarena", update=True)
    assert settled(update, 400) == "succeeded", update.error
    second = Installation.objects.get(is_current=True)
    assert second.version != first.version
    log = lines_of(update.stream_id)
    assert any(line.startswith("It answered after") and "with the map oa_" in line for line in log), log[-5:]
    assert second.shared_bytes > 0.9 * first.size_bytes

    new = started(alice, arena, "new")
    assert new.installation == second
    services.promote_version(by=mod, installation=first)
    back = services.restart_server(by=alice, server=new)
    assert settled(back, 60) == "succeeded", back.error
    new.refresh_from_db()
    assert new.installation == first

    cleaned = services.clean_up_game(by=mod, node=node, game="openarena")
    assert settled(cleaned, 60) == "succeeded", cleaned.error
    assert set(Installation.objects.all()) == {first, second}  # the second was current before
    played.refresh_from_db()
    assert (played.installation, state_of(played).pid) == (first, pid)
    assert digest(services.folder(first)) == before
