"""What breaks on a real host, one thing after the other: nothing is lost, no mount is left, the state is soon true.

A bystander's server runs through all of it; whatever happens to its neighbours, its players notice nothing.
"""

import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deploy.installed import Installed
from tests.stack import wait_for

pytestmark = pytest.mark.host
PLACE = "/var/lib/left4me"
SOON = 10.0  # seconds within which the portal must show what is true


@pytest.fixture(scope="module")
def pair(portal: Installed) -> Iterator[Installed]:
    """Two running servers: `target`, which things happen to, and `bystander`."""
    for name in ("bystander", "target"):
        portal.make(name)
    yield portal
    for name in ("bystander", "target"):
        portal.power(name, "stop")


@pytest.fixture
def undisturbed(pair: Installed) -> Iterator[Installed]:
    """The pair, both running before; afterwards the bystander still is the same process, and consoles are whole."""
    for name in ("bystander", "target"):
        if pair.server(name)["unit"] != "running":
            pair.power(name, "start")
            pair.shows(name, "running")
    before = pair.main_pid("bystander")
    yield pair
    assert pair.main_pid("bystander") == before
    assert pair.host.show("left4me-server@bystander", "NRestarts")["NRestarts"] == "0"
    assert pair.shows("bystander", "running", seconds=SOON)
    wait_for(lambda: consoles_are_whole(pair, "bystander"), seconds=SOON, what="the bystander's console")
    wait_for(lambda: consoles_are_whole(pair, "target"), seconds=SOON, what="the target's console")


def consoles_are_whole(portal: Installed, name: str) -> bool:
    """Whether the portal has what the journal has, line by line: nothing lost, nothing twice."""
    printed = portal.host.journal(f"left4me-server@{name}", "--namespace=left4me", lines=100_000).splitlines()
    shown = portal.lines(portal.server(name)["console"])
    return len(shown) > 0 and [plain(line) for line in shown] == [plain(line) for line in printed]


def plain(line: str) -> str:
    """Without what the portal takes out: the secrets it hides, and control characters."""
    return re.sub(r"[^ -~]|password.*", "", line)


def ready(portal: Installed) -> bool:
    return portal.http.get("/readyz").status_code == 200


@pytest.mark.parametrize("unit", ["left4me-web", "left4me-worker", "left4me-agent", "postgresql@*", "caddy"])
@pytest.mark.parametrize("how", ["kill", "restart"])
def test_a_part_of_the_portal_ends_and_comes_back(undisturbed: Installed, unit: str, how: str) -> None:
    portal = undisturbed
    target = portal.main_pid("target")
    portal.host.sh(f"systemctl {'restart' if how == 'restart' else 'kill -s KILL'} '{unit}'")
    if how == "kill" and unit in ("postgresql@*", "caddy"):
        portal.host.sh(
            f"systemctl reset-failed '{unit}'; systemctl start 'postgresql@17-main' caddy"
        )  # an operator does
    wait_for(lambda: ready(portal), seconds=30, what="the portal being ready")
    portal.shows("target", "running", seconds=SOON)
    assert portal.main_pid("target") == target, "the games were left alone"
    portal.power("target", "restart")
    portal.shows("target", "running", seconds=SOON)


def test_a_killed_game_is_started_again(undisturbed: Installed) -> None:
    portal = undisturbed
    before = portal.main_pid("target")
    portal.host.sh(f"kill -9 {before}")
    wait_for(lambda: portal.main_pid("target") not in (0, before), seconds=SOON, what="the game being started again")
    portal.shows("target", "running", seconds=SOON)
    assert portal.mounted() == {"bystander", "target"}


def test_the_mount_of_one_server_restarted_takes_its_game_along_and_it_comes_back(undisturbed: Installed) -> None:
    portal = undisturbed
    unit = "left4me-server@target"
    wait_for(lambda: portal.host.show(unit, "ActiveState")["ActiveState"] == "active", seconds=SOON)
    portal.host.sh("systemctl stop left4me-overlay@target")
    assert portal.host.show(unit, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert portal.mounted() == {"bystander"}
    wait_for(lambda: portal.main_pid("target"), seconds=30, what="the agent bringing the server back")
    portal.shows("target", "running", seconds=SOON)


def test_a_game_that_was_started_a_moment_ago_is_stopped_by_its_own_signal(undisturbed: Installed) -> None:
    portal, unit = undisturbed, "left4me-server@target"
    for _ in range(8):  # systemd 257 killed about every second one
        portal.host.sh(f"systemctl reset-failed {unit}; systemctl restart {unit}; systemctl stop {unit}")
        assert portal.host.show(unit, "Result")["Result"] == "success"
    portal.power("target", "start")


def test_a_busy_mount_target_is_told_and_mended(undisturbed: Installed) -> None:
    portal = undisturbed
    portal.power("target", "stop")
    portal.host.sh(f"mount -t tmpfs mine {PLACE}/runtime/target/merged")
    job = portal.job(portal.api("POST", "/servers/target/start")["job"])
    portal.host.sh(f"umount {PLACE}/runtime/target/merged")
    assert job["state"] == "failed"
    assert "busy" in job["error"]
    portal.power("target", "start")


def test_a_port_that_another_program_has_is_left_to_it(undisturbed: Installed) -> None:
    portal = undisturbed
    portal.power("target", "stop")
    port = int(portal.server("target")["address"].rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:  # the machines share the network
        other.bind(("", port))
        job = portal.power("target", "start")
        assert any(f"Port {port} is used by another program" in line for line in job["lines"])
        assert not portal.server("target")["address"].endswith(f":{port}")


def test_a_full_disk_is_told_and_leaves_nothing_half_made(undisturbed: Installed) -> None:
    portal = undisturbed
    portal.power("target", "stop")
    full = f"mount -t tmpfs -o size=20m,mode=2770,uid=$(id -u left4me),gid=$(id -g left4me-game) full {PLACE}/runtime"
    portal.host.sh(full)
    try:
        job = portal.job(portal.api("POST", "/servers/target/start")["job"])
    finally:
        portal.host.sh(f"umount -l {PLACE}/runtime")
    assert job["state"] == "failed"
    assert "disk is full" in job["error"]
    assert portal.mounted() == {"bystander"}
    portal.power("target", "start")


def test_two_starts_at_once_start_one_game(undisturbed: Installed) -> None:
    portal = undisturbed
    portal.power("target", "stop")
    with ThreadPoolExecutor(2) as pool:
        jobs = list(pool.map(lambda _: portal.http.post("/api/v1/servers/target/start"), range(2)))
    for answer in jobs:
        assert answer.status_code in (202, 409), answer.text
        if answer.status_code == 202:
            assert portal.job(answer.json()["job"])["state"] == "succeeded"
    portal.shows("target", "running", seconds=SOON)
    assert portal.host.show("left4me-server@target", "NRestarts")["NRestarts"] == "0"


def test_a_game_that_cannot_start_is_told_with_its_last_lines(undisturbed: Installed) -> None:
    portal = undisturbed
    portal.power("target", "stop")
    upper = f"{PLACE}/runtime/target/upper"
    portal.host.sh(
        f"mkdir -p {upper}/practice; echo 'raise SystemExit(\"I am broken\")' > {upper}/practice/__main__.py"
    )
    portal.host.sh(f"chmod -R a+rX {upper}")
    job = portal.job(portal.api("POST", "/servers/target/start")["job"])
    portal.host.sh(f"rm -r {upper}/practice")
    assert job["state"] == "failed"
    assert "exit code 1" in job["error"]
    assert "I am broken" in "\n".join(portal.lines(portal.server("target")["console"])[-20:])
    assert portal.mounted() == {"bystander"}
    portal.power("target", "start")


def reboot(portal: Installed, *, cleanly: bool) -> None:
    portal.host.reboot(cleanly=cleanly)
    wait_for(lambda: answers(lambda: ready(portal)), seconds=60, every=0.5, what="the portal after the reboot")


def answers(question: Callable[[], bool]) -> bool:
    import httpx

    try:
        return question()
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("cleanly", [True, False], ids=["reboot", "power cut"])
def test_after_a_reboot_the_servers_that_should_run_do_and_no_others(pair: Installed, cleanly: bool) -> None:
    pair.power("target", "stop")
    reboot(pair, cleanly=cleanly)
    wait_for(lambda: pair.main_pid("bystander"), seconds=60, what="the bystander running again")
    pair.shows("bystander", "running", seconds=SOON)
    pair.shows("target", "stopped", seconds=SOON)
    assert pair.mounted() == {"bystander"}
    pair.power("target", "start")
    pair.shows("target", "running", seconds=SOON)
    wait_for(lambda: consoles_are_whole(pair, "bystander"), seconds=SOON, what="the console after the reboot")
