"""What everybody else notices while one member attacks: Bob's page, console and start, with Alice doing her worst.

One web process, one cluster and one agent, as in the demo. Each attack goes on for as long as Bob is measured.
"""

import http.client
import math
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.attacks import ATTACKS, World, post
from tests.bench.figure import Figure, percentile
from tests.bench.scale import scaled

if TYPE_CHECKING:
    from portal.models import User
    from servers.models import Node, Server

PAGES, COMMANDS, STARTS = scaled((150, 15, 3), (5, 1, 1))
PAUSE = 0.05  # seconds between two of Bob's pages
QUOTA = {"LEFT4ME_DISK_QUOTA": str(2 << 30)}
MOST_PAGE, MOST_CONSOLE, MOST_START = 300, 1000, 3000  # milliseconds


def figures() -> Iterator[Figure]:
    with _world() as world:
        for name, attack in ATTACKS.items():
            with attack(world):
                yield from _bobs(world, name)


@contextmanager
def _world() -> Iterator[World]:
    from django.contrib.auth import get_user_model
    from django.test import override_settings

    from portal.tokens import create_token
    from servers import seeds
    from servers.runtime import get_runtime
    from tests.servers.living import ports_of_our_own
    from tests.stack import Stack

    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as name:
        folder = Path(name)
        state, games = folder / "state", ports_of_our_own(folder / "games")
        environment = {"LEFT4ME_STATE": str(state), "LEFT4ME_GAMES_DIR": str(games), **QUOTA}
        with override_settings(STATE_DIR=state, GAMES_DIRS=[games]), Stack(folder, **environment) as stack:
            get_runtime.cache_clear()
            alice, bob = (get_user_model().objects.create_user(name) for name in ("alice", "bob"))
            hostile = _hostile(games, alice, seeds.ensure_node())
            bobs, idle = _practice(bob, seeds.ensure_node())
            stack.start("cluster")
            stack.start("agent")
            try:
                token = create_token(user=bob, name="bench")[1]
                yield _running(World(stack.start_web(), folder, alice, bob, bobs, idle, hostile, token))
            finally:
                for server in (bobs, idle, *hostile.values()):
                    get_runtime().stop(server.name, timeout=0)
                get_runtime.cache_clear()


def _hostile(games: Path, alice: "User", node: "Node") -> "dict[str, Server]":
    from tests.servers import hostile_games
    from tests.servers.living import make_scripted

    programs = {
        "answers": hostile_games.FLOODS_ITS_ANSWERS,
        "escapes": hostile_games.PRINTS_ESCAPES,
        "lines": hostile_games.PRINTS_WITHOUT_END,
        "files": hostile_games.WRITES_WITHOUT_END,
    }
    more = hostile_games.CONSOLE
    return {name: make_scripted(games, text, by=alice, node=node, more=more) for name, text in programs.items()}


def _practice(bob: "User", node: "Node") -> "tuple[Server, Server]":
    from servers import services
    from servers.models import Blueprint
    from tests.servers.living import install_practice

    install_practice(node)
    blueprint = Blueprint.objects.create(slug="bench", name="Bench", game="practice")
    one, other = (services.create_server(by=bob, name=name, blueprint=blueprint) for name in ("bobs", "bobs-idle"))
    return one, other


def _running(world: World) -> World:
    from servers import services
    from tests.servers.living import ready, settled

    assert settled(services.start_server(by=world.bob, server=world.bobs)) == "succeeded"
    ready(world.bobs)
    return world


# What Bob does.


def _bobs(world: World, attack: str) -> Iterator[Figure]:
    pages = list(_pages(world))
    yield Figure(f"others.{attack}.page.p50", percentile(pages, 50), "ms")
    yield Figure(f"others.{attack}.page.p99", percentile(pages, 99), "ms", MOST_PAGE)
    yield Figure(f"others.{attack}.console.max", _worst(_console(world)), "ms", MOST_CONSOLE)
    yield Figure(f"others.{attack}.start.max", _worst(_starts(world)), "ms", MOST_START)


def _worst(values: Iterator[float]) -> float:
    """The largest; nan when one failed."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found)


def _pages(world: World) -> Iterator[float]:
    """Milliseconds for each of his pages, one after another on one connection."""
    from django.conf import settings

    from tests.jobs.sockets import cookie

    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie(world.bob)}", "Host": "localhost"}
    peer = http.client.HTTPConnection(*world.address, timeout=60)
    for number in range(PAGES):
        began = time.perf_counter()
        peer.request("GET", ("/", f"/servers/{world.bobs.name}/")[number % 2], headers=headers)
        answer = peer.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        yield (time.perf_counter() - began) * 1000
        time.sleep(PAUSE)


def _console(world: World) -> Iterator[float]:
    """From a command that he sends to the line that his game then prints, as his own browser receives it."""
    from jobs.models import Stream
    from tests.jobs.sockets import Socket

    token = world.bobs_token
    after = Stream.objects.get(pk=world.bobs.console_id).last_seq
    with Socket(world.url, f"/ws/streams/{world.bobs.console_id}/?after={after}", token=token) as socket:
        messages = socket.messages(timeout=60)
        for number in range(COMMANDS):
            mark, began = f"mark {number} {time.monotonic_ns()}", time.perf_counter()
            if post(world, token, f"/servers/{world.bobs.name}/command", {"command": f"say {mark}"}) != 200:
                yield math.nan
                return
            while not any(f"Console: {mark}" in line[2] for line in next(messages).get("lines", [])):
                pass
            yield (time.perf_counter() - began) * 1000


def _starts(world: World) -> Iterator[float]:
    """From *Start* pressed to the process."""
    from servers import services
    from servers.runtime import get_runtime
    from tests.servers.living import settled

    token = world.bobs_token
    for _ in range(STARTS):
        began = time.perf_counter()
        assert post(world, token, f"/servers/{world.idle.name}/start", {}) == 202
        while get_runtime().states([world.idle.name])[world.idle.name].unit != "running":
            time.sleep(0.005)
        yield (time.perf_counter() - began) * 1000
        assert settled(services.stop_server(by=world.bob, server=world.idle), seconds=120) == "succeeded"
