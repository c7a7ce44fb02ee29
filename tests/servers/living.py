"""The portal's real processes with real games: fixtures (taken up by conftest.py) and what such tests wait for."""

import random
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from jobs import streams
from jobs.models import Job
from portal.models import User
from servers import services
from servers.agent.commands import Commands
from servers.agent.loop import Loop
from servers.models import Blueprint, Installation, Node, Server
from servers.runtime import get_runtime
from servers.runtime.base import UnitState
from tests.stack import Stack, game_port, wait_for

SCRIPTED = """
slug = "{slug}"
name = "Scripted"
summary = "A game that is a program of the test."
install = {{ method = "builtin", folder = "nowhere" }}
ports = [{{ name = "game", protocol = "udp", from = {port}, to = {port} }}]
{more}
[run]
argv = ["{{python}}", "-u", "game.py", "{{port.game}}"]
stop_signal = "SIGTERM"
stop_after = 2
kill_after = 1
"""
PORTS = 30
QUERY = 'query = { protocol = "source" }'
COLOURFUL = 'secrets = ["rcon"]\nconsole = { protocol = "quake3-rcon", secret = "rcon", colours = "quake" }'


@pytest.fixture
def portal(transactional_db: None, tmp_path: Path, settings) -> Iterator[Stack]:
    """The portal's processes with a folder of their own for games; whatever runs is stopped afterwards."""
    settings.STATE_DIR = tmp_path / "state"
    settings.STATE_DIR.mkdir()
    own_games = ports_of_our_own(tmp_path / "games")
    settings.GAMES_DIRS = [*settings.GAMES_DIRS[:1], own_games]
    get_runtime.cache_clear()
    environment = {"LEFT4ME_STATE": str(settings.STATE_DIR), "LEFT4ME_GAMES_DIR": str(own_games)}
    with Stack(tmp_path, LEFT4ME_WORKERS="2", **environment) as stack:
        yield stack
    runtime = get_runtime()
    for folder in settings.STATE_DIR.glob("runtime/[a-z0-9]*"):
        runtime.stop(folder.name)
    get_runtime.cache_clear()


def ports_of_our_own(folder: Path) -> Path:
    """A folder with the practice game's definition, its ports such as nothing else on this machine uses."""
    folder.mkdir()
    text = Path(django_settings.BASE_DIR, "servers/games/practice.toml").read_text()
    first = next(first for first in (random.randrange(20_000, 32_000) for _ in range(100)) if _are_free(first))
    ours = text.replace("from = 27015", f"from = {first}").replace("to = 27114", f"to = {first + PORTS - 1}")
    (folder / "practice.toml").write_text(ours)
    return folder


def _are_free(first: int) -> bool:
    with ExitStack() as sockets:
        try:
            for port in range(first, first + PORTS):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    sockets.enter_context(socket.socket(socket.AF_INET, kind)).bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


@pytest.fixture
def scripted(portal: Stack, alice: User, node: Node) -> Callable[[str], Server]:
    """`scripted("print(1)")` makes a server of Alice's whose game is that Python program, installed already."""

    def make(program: str, *, more: str = "") -> Server:
        return make_scripted(Path(portal.environment["LEFT4ME_GAMES_DIR"]), program, by=alice, node=node, more=more)

    return make


def make_scripted(games_dir: Path, program: str, *, by: User, node: Node, more: str = "") -> Server:
    """A server of `by` whose game, defined in `games_dir`, is that Python program; processes started later know it."""
    slug = f"scripted-{Server.objects.count()}"
    text = SCRIPTED.format(slug=slug, port=game_port(), more=more)
    Path(games_dir, f"{slug}.toml").write_text(text)
    version = Installation.objects.create(node=node, game=slug, version="1", state="ready", is_current=True)
    services.folder(version).mkdir(parents=True)
    (services.folder(version) / "game.py").write_text(program)
    blueprint = Blueprint.objects.create(slug=slug, name=slug, game=slug)
    return services.create_server(by=by, name=slug, blueprint=blueprint)


@pytest.fixture
def practice(portal: Stack, alice: User, node: Node, blueprint: Blueprint) -> Server:
    """Alice's practice server, its game installed: a test of something else need not wait for that."""
    install_practice(node)
    return services.create_server(by=alice, name="alices-practice", blueprint=blueprint)


def install_practice(node: Node) -> None:
    """Without a job."""
    installation = Installation.objects.create(node=node, game="practice", version="1", state="ready", is_current=True)
    files = Path(django_settings.BASE_DIR, "servers/games/practice")
    shutil.copytree(files, services.folder(installation) / "practice")


@pytest.fixture
def sends(transactional_db: None, node: Node) -> Iterator[None]:
    """What the agent of the node does for commands, in this process."""
    commands, may_run = Commands(node), threading.Event()
    loop = Loop("commands", commands.step, 0.01, may_run)
    may_run.set()
    loop.start()
    yield
    loop.stop()
    loop.join()
    commands.close()


def settled(job: Job, seconds: float = 30) -> str:
    """Wait until the job is in a final state, which is returned."""

    def state() -> str:
        job.refresh_from_db()
        return "" if job.is_active else str(job.state)

    return str(wait_for(state, seconds=seconds, what=f"the end of {job.kind}"))


def sees(server: Server, unit: str, seconds: float = 15) -> None:
    """Wait until the agent has written that state."""

    def state() -> bool:
        server.refresh_from_db()
        return bool(server.unit == unit)

    wait_for(state, seconds=seconds, what=f"{server.name} seen {unit}")


def ready(server: Server, seconds: float = 60) -> None:
    """Wait until the game has answered the agent: a process runs a while before its console listens."""

    def state() -> bool:
        server.refresh_from_db()
        return server.unit == "running" and bool(server.query.get("ok"))

    wait_for(state, seconds=seconds, what=f"{server.name} answering")


def state_of(server: Server) -> UnitState:
    """What the machine itself says."""
    return get_runtime().states([server.name])[server.name]


def lines_of(stream_id: int) -> list[str]:
    return [text for _, _, text in streams.read(stream_id, after=0, limit=1_000_000)]
