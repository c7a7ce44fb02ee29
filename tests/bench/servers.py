"""From *Start* pressed to the game's process, by way of a real cluster, and what a new server costs on disk."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, latencies
from tests.bench.scale import scaled

if TYPE_CHECKING:
    from servers.models import Server

STARTS, CREATED = scaled((20, 20), (2, 1))
BIG_GAME_MIB = scaled(256, 16)


def figures() -> Iterator[Figure]:
    from django.test import override_settings

    from servers.runtime import get_runtime
    from tests.servers.living import ports_of_our_own
    from tests.stack import Stack

    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as name:
        folder = Path(name)
        state, games = folder / "state", ports_of_our_own(folder / "games")
        environment = {"LEFT4ME_STATE": str(state), "LEFT4ME_GAMES_DIR": str(games)}
        with override_settings(STATE_DIR=state, GAMES_DIRS=[games]), Stack(folder, **environment) as stack:
            get_runtime.cache_clear()
            stack.start("cluster")
            stack.start("agent")
            server = _installed_server()
            try:
                yield from _starts(server)
                yield from _disk(server, state)
            finally:
                get_runtime().stop(server.name)
                get_runtime.cache_clear()


def _installed_server() -> "Server":
    from django.contrib.auth import get_user_model

    from servers import seeds, services
    from servers.models import Blueprint, Installation

    owner = get_user_model().objects.create_superuser("bench")
    blueprint = Blueprint.objects.create(slug="bench", name="Bench", game="practice")
    server = services.create_server(by=owner, name="bench", blueprint=blueprint)
    _finish(services.install_game(by=owner, node=seeds.ensure_node(), game="practice"))
    bulk = services.folder(Installation.objects.get(is_current=True)) / "bulk"
    bulk.write_bytes(bytes(BIG_GAME_MIB << 20))
    return server


def _starts(server: "Server") -> Iterator[Figure]:
    """The process is looked for on the machine itself, the state in the database, where pages read it."""
    from servers import services
    from servers.models import Server
    from servers.runtime import get_runtime

    runtime = get_runtime()
    processes, seen = [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        job = services.start_server(by=server.owner, server=server)
        while runtime.states([server.name])[server.name].unit != "running":
            time.sleep(0.001)
        processes.append((time.perf_counter() - began) * 1000)
        while Server.objects.get(pk=server.pk).unit != "running":
            time.sleep(0.005)
        seen.append((time.perf_counter() - began) * 1000)
        _finish(job)
        _finish(services.stop_server(by=server.owner, server=server))
    yield from latencies("servers.start_pressed_to_process", processes, p50=300)
    yield from latencies("servers.start_pressed_to_shown_as_running", seen)


def _disk(server: "Server", state: Path) -> Iterator[Figure]:
    from servers import services

    assert server.blueprint
    before = _used(state)
    for number in range(CREATED):
        made = services.create_server(by=server.owner, name=f"bench-{number}", blueprint=server.blueprint)
        _finish(services.start_server(by=server.owner, server=made))
        _finish(services.stop_server(by=server.owner, server=made))
    each = (_used(state) - before) / CREATED / 2**20
    yield Figure(f"servers.disk_of_a_server_over_a_game_of_{BIG_GAME_MIB}_MiB", each, "MiB", 1)


def _used(state: Path) -> int:
    """Bytes on disk: folders and database."""
    from django.db import connection

    with connection.cursor() as db:
        db.execute("SELECT pg_database_size(current_database())")
        database = int(db.fetchone()[0])  # type: ignore[index]
    return database + sum(path.lstat().st_blocks * 512 for path in state.rglob("*"))


def _finish(job) -> None:  # type: ignore[no-untyped-def]
    from tests.servers.living import settled

    assert settled(job) == "succeeded", job.error
