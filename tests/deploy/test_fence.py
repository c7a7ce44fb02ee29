"""What a game can reach over the network: the world and whoever asked it, but nothing of its own machine."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from random import randrange

import pytest

from tests.deploy.installed import Installed
from tests.deploy.talker import Talker
from tests.stack import free_port, wait_for

pytestmark = pytest.mark.host
FAR, NEAR = "198.18.77.2", "198.18.77.1"  # of RFC 2544's network for tests
TRY = """
import socket
def attempt(host, port, kind="STREAM"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, getattr(socket, "SOCK_" + kind)) as s:
        s.settimeout(5)
        try:
            s.connect((host, port))
            s.send(b"hello")
            said = "reached" if s.recv(5) == b"hello" else "nothing"
        except OSError as error:
            said = type(error).__name__
        print("tried", host, port, kind, said, flush=True)
"""
SERVE = """
import socket, threading
def serve(address):
    tcp, udp = socket.create_server(address), socket.socket(type=socket.SOCK_DGRAM)
    udp.bind(address)
    def accept():
        while True:
            one, _ = tcp.accept()
            one.send(one.recv(5))
            one.close()
    def answer():
        while True:
            data, sender = udp.recvfrom(5)
            udp.sendto(data, sender)
    for target in (accept, answer):
        threading.Thread(target=target, daemon=True).start()
"""


@contextlib.contextmanager
def echoes(address: str, port: int) -> Iterator[None]:
    """A service of the host; the machine shares our network."""
    scope: dict[str, object] = {}
    exec(SERVE, scope)
    scope["serve"]((address, port))  # type: ignore[operator]
    assert asked(address, port, socket.SOCK_STREAM) == asked(address, port, socket.SOCK_DGRAM) == b"hello"
    yield


def asked(address: str, port: int, kind: socket.SocketKind) -> bytes:
    with socket.socket(type=kind) as asker:
        asker.settimeout(5)
        asker.connect((address, port))
        asker.send(b"hello")
        return asker.recv(5)


@pytest.fixture
def far(portal: Installed) -> Iterator[int]:
    """The port of a service on another machine."""
    host, port = portal.host, free_port()
    host.sh(
        "ip netns add far && ip link add near type veth peer name far netns far"
        f" && ip addr add {NEAR}/30 dev near && ip link set near up && ip -n far link set lo up"
        f" && ip -n far addr add {FAR}/30 dev far && ip -n far link set far up"
    )
    program = f"{SERVE}\nserve(('{FAR}', {port}))\nthreading.Event().wait()"
    serving = threading.Thread(
        target=lambda: host.run("ip", "netns", "exec", "far", "python3", "-c", program, check=False, timeout=600),
        daemon=True,
    )
    serving.start()
    try:
        wait_for(lambda: _answers(FAR, port), what="the far machine")
        yield port
    finally:
        host.sh("ip netns pids far | xargs -r kill -9; ip netns del far; ip link del near", check=False)
        serving.join(30)


def _answers(address: str, port: int) -> bool:
    try:
        return asked(address, port, socket.SOCK_STREAM) == b"hello"
    except OSError:
        return False


def tried(game: Talker, host: str, port: int, kind: str = "STREAM") -> str:
    """What came of the game's attempt to be answered there."""
    game.tell(f"{TRY}\nattempt({host!r}, {port}, {kind!r})")
    start = f"tried {host} {port} {kind} "
    line = wait_for(
        lambda: next((line for line in reversed(game.lines()) if line.startswith(start)), ""), what=f"the try of {host}"
    )
    return str(line).removeprefix(start)


def port_of(portal: Installed, name: str) -> int:
    return int(portal.server(name)["address"].rpartition(":")[2])


def check_fence(portal: Installed, far: int) -> None:
    game, other = Talker(portal, "fenced"), Talker(portal, "other")
    its, others = port_of(portal, "fenced"), port_of(portal, "other")
    for one, port in ((game, its), (other, others)):
        one.tell(f"{SERVE}\nserve(('0.0.0.0', {port}))\nprint('serving')")
        wait_for(lambda one=one: "serving" in one.lines(), what="a game that listens")
    database = int(re.findall(r"port=(\d+)", portal.host.sh("cat /etc/left4me/left4me.env").stdout)[0])
    site, service = int(portal.site.rpartition(":")[2]), free_port()
    resolver = f"127.0.0.{randrange(20, 250)}"
    with echoes("127.0.0.1", service), echoes(resolver, 53):
        for host, port in (
            *(("127.0.0.1", database), ("127.0.0.1", site), ("127.0.0.1", service), ("127.0.0.1", others)),
            *((NEAR, others), ("169.254.169.254", 80)),
        ):
            assert tried(game, host, port) == "ConnectionRefusedError", (host, port)
        for host, port in (("127.0.0.1", service), ("127.0.0.1", others), ("169.254.169.254", 123)):
            assert tried(game, host, port, "DGRAM") not in ("reached", "nothing", "TimeoutError"), (host, port)
        for kind in ("STREAM", "DGRAM"):
            assert tried(game, resolver, 53, kind) == "reached", "a resolver of the host"
            assert tried(game, FAR, far, kind) == "reached", "another machine"
    for address in ("127.0.0.1", NEAR):  # as the portal asks and commands it
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            assert asked(address, its, kind) == b"hello"


def test_a_game_reaches_other_machines_and_nothing_of_its_own(portal: Installed, far: int) -> None:
    check_fence(portal, far)


def test_so_it_is_on_debian_12_where_each_game_is_a_user_of_its_own(portal12: Installed, far: int) -> None:
    check_fence(portal12, far)


def test_the_doctor_misses_rules_that_something_removed_and_the_next_start_brings_them(portal: Installed) -> None:
    game = Talker(portal, "flushed")
    assert "packet filter" not in failures(portal)
    portal.host.sh("nft delete table inet left4me")
    assert "nft -f" in failures(portal)["packet filter"]
    game.restart()
    assert "packet filter" not in failures(portal)


def failures(portal: Installed) -> dict[str, str]:
    checks = json.loads(portal.host.sh("left4me doctor --json", check=False).stdout)["checks"]
    return {check["name"]: check["detail"] for check in checks if check["state"] == "fail"}
