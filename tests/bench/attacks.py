"""What one member can do to the others: each attack is a context, in which it goes on."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

from tests.bench.attack_programs import DRIP, RELOAD, SEND, SIGN_IN
from tests.bench.scale import scaled

if TYPE_CHECKING:
    from portal.models import User
    from servers.models import Server

BODY = scaled(400, 8) << 20


@dataclass
class World:
    """The portal, and its two members."""

    url: str
    folder: Path
    alice: "User"
    bob: "User"
    bobs: "Server"  # runs
    idle: "Server"  # Bob's too, to be started
    hostile: "dict[str, Server]"  # Alice's, by program
    bobs_token: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 80)


def post(world: World, token: str, path: str, body: dict[str, Any]) -> int:
    peer = http.client.HTTPConnection(*world.address, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Host": "localhost"}
    peer.request("POST", f"/api/v1{path}", json.dumps(body), headers)
    answer = peer.getresponse()
    answer.read()
    peer.close()
    return answer.status


@contextmanager
def _nothing(world: World) -> Iterator[None]:
    yield


@contextmanager
def _game_runs(world: World, name: str) -> Iterator[None]:
    """One of her games runs."""
    from servers import services
    from tests.servers.living import sees, settled

    server = world.hostile[name]
    assert settled(services.start_server(by=world.alice, server=server), seconds=60) == "succeeded"
    sees(server, "running", seconds=60)
    try:
        yield
    finally:
        settled(services.stop_server(by=world.alice, server=server), seconds=120)


def _prints_escapes(world: World) -> Any:
    return _game_runs(world, "escapes")


def _prints_lines(world: World) -> Any:
    return _game_runs(world, "lines")


def _writes_files(world: World) -> Any:
    return _game_runs(world, "files")


@contextmanager
def _uploads(world: World) -> Iterator[None]:
    """She begins uploads of 2 GiB, forty at a time, and sends what she is let."""
    from servers import services
    from servers.services.uploads import PIECE

    def upload() -> None:
        begun = services.begin_upload(by=world.alice, filename="large.vpk", size=2 << 30)
        for number in range(4):
            services.continue_upload(upload=begun, offset=number * PIECE, piece=bytes(PIECE))
        services.discard_upload(key=str(begun.pk), owner=world.alice.pk)

    with _threads(40, upload):
        yield


@contextmanager
def _commands(world: World) -> Iterator[None]:
    """Thirty commands at a time to a game that floods its answers."""
    from portal.tokens import create_token

    token = create_token(user=world.alice, name=f"bench {time.monotonic_ns()}")[1]
    path = f"/servers/{world.hostile['answers'].name}/command"
    with _game_runs(world, "answers"), _threads(30, lambda: post(world, token, path, {"command": "flood"})):
        yield


@contextmanager
def _layers(world: World) -> Iterator[None]:
    """Add-ons whose mission never ends, always four of them to be built."""
    from servers import services
    from tests.servers.addons import vpk
    from tests.servers.hostile_games import MISSION

    package = vpk({"missions/a.txt": MISSION, "maps/a.bsp": b"VBSP"})
    made = 0

    def build() -> None:
        nonlocal made
        made += 1
        key = _uploaded(world, package)
        with suppress(Exception):  # refused, which is as good
            layer = services.create_layer(
                by=world.alice, name=f"hostile {made}", game="practice", kind="archive", visibility="private",
                source={}, upload=key,
            )  # fmt: skip
            _wait_for_jobs_of(layer.topic)

    with _threads(4, build):
        yield


def _uploaded(world: World, package: bytes) -> UUID:
    from hashlib import sha256

    from servers import services

    upload = services.begin_upload(by=world.alice, filename="hostile.vpk", size=len(package))
    services.continue_upload(upload=upload, offset=0, piece=package)
    services.finish_upload(upload=upload, sha256=sha256(package).hexdigest())
    return upload.pk


@contextmanager
def _jobs(world: World) -> Iterator[None]:
    """A hundred jobs of hers are always waiting."""
    from jobs.models import Job
    from servers import services
    from servers.errors import ServerError

    files = {f"cfg/file_{number}.cfg": "sv_cheats 0\n" for number in range(20)}
    given = {"by": world.alice, "game": "practice", "kind": "files", "visibility": "private"}
    layers = []
    with suppress(ServerError):  # beyond what a member may have
        for number in range(100):
            layers += [services.create_layer(**given, name=f"many {number}", source={"files": files})]

    def build() -> None:
        if Job.objects.active().filter(requested_by=world.alice).count() < 100:
            for layer in layers:
                with suppress(ServerError):
                    services.build_layer(by=world.alice, layer=layer)
        time.sleep(0.1)

    with _threads(1, build):
        yield
    Job.objects.active().filter(requested_by=world.alice, state="queued").delete()


def _wait_for_jobs_of(topic: str) -> None:
    from jobs.models import Job

    limit = time.monotonic() + 60
    while Job.objects.active().about(topic).exists() and time.monotonic() < limit:
        time.sleep(0.1)


@contextmanager
def _bodies(world: World) -> Iterator[None]:
    """Somebody who is not signed in sends large bodies, four at a time."""
    with ExitStack() as programs:
        for path in ("/healthz", "/nowhere", "/api/v1/servers", "/accounts/login/"):
            programs.enter_context(_program(world, SEND, path, str(BODY)))
        yield


@contextmanager
def _drips(world: World) -> Iterator[None]:
    """Four hundred connections on which hardly anything comes."""
    with _program(world, DRIP, "400"):
        yield


@contextmanager
def _reloads(world: World, addresses: int) -> Iterator[None]:
    """She reloads a page on 32 connections."""
    from django.conf import settings

    from tests.jobs.sockets import cookie

    session = f"{settings.SESSION_COOKIE_NAME}={cookie(world.alice)}"
    path = f"/servers/{world.hostile['lines'].name}/"
    with _program(world, RELOAD, path, session, "32", str(addresses)):
        yield


def _visitors(world: World) -> Any:
    """Somebody who is not signed in reloads the page for that, from a hundred addresses."""
    return _program(world, RELOAD, "/accounts/login/", "", "100", "100")


def _sign_ins(world: World) -> Any:
    """Somebody guesses passwords from thirty addresses."""
    return _program(world, SIGN_IN, "30")


@contextmanager
def _program(world: World, text: str, *arguments: str) -> Iterator[None]:
    """Runs in a process of its own, so that Bob's client has this one's time."""
    host, port = world.address
    process = subprocess.Popen([sys.executable, "-c", text, host, str(port), *arguments])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _threads(count: int, act: Callable[[], object]) -> Iterator[None]:
    """That many threads that repeat `act` meanwhile; what is refused or lost is tried again."""
    from django.db import connection

    over = threading.Event()

    def repeat() -> None:
        while not over.is_set():
            try:
                act()
            except Exception:
                over.wait(0.1)
        connection.close()

    threads = [threading.Thread(target=repeat, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(90)


ATTACKS = {
    "nobody_attacks": _nothing,
    "flooding_answers": _commands,
    "endless_escapes": _prints_escapes,
    "endless_lines": _prints_lines,
    "uploads": _uploads,
    "hostile_layers": _layers,
    "hundred_jobs": _jobs,
    "large_bodies": _bodies,
    "slow_bodies": _drips,
    "reloading": partial(_reloads, addresses=1),
    "reloading_from_32_addresses": partial(_reloads, addresses=32),
    "visitors": _visitors,
    "guessed_passwords": _sign_ins,
    "endless_files": _writes_files,  # the last: she may start nothing afterwards
}
