"""The other mount driver: fuse-overlayfs run by the portal's user, chosen by one setting, on systemd 252."""

import json
from collections.abc import Iterator

import pytest

from tests.deploy.installed import Installed
from tests.stack import wait_for

pytestmark = pytest.mark.host
NAME = "fusey"
MERGED = f"/var/lib/left4me/runtime/{NAME}/merged"


@pytest.fixture(scope="module")
def fuse(portal12: Installed) -> Iterator[Installed]:
    """The portal with the driver switched, and a server that runs on it."""
    portal12.install("--overlay", "fuse")
    portal12.make(NAME)
    yield portal12
    portal12.power(NAME, "stop")
    portal12.install("--overlay", "kernel")


def test_a_game_runs_in_it_and_the_doctor_proves_the_mount(fuse: Installed) -> None:
    mounts = fuse.host.sh(f"cat /proc/{fuse.main_pid(NAME)}/mountinfo").stdout
    [line] = [line for line in mounts.splitlines() if f" {MERGED} " in line]
    assert "fuse.fuse-overlayfs" in line
    found = json.loads(fuse.host.run("left4me", "doctor", "--json").stdout)["checks"]
    assert [check["state"] for check in found if check["name"] == f"mount of {NAME}"] == ["ok"]


def test_the_game_can_write_and_the_file_is_the_portals(fuse: Installed) -> None:
    fuse.host.run("touch", f"{MERGED}/written", user="left4me-game")
    upper = MERGED.replace("merged", "upper")
    assert fuse.host.sh(f"stat -c %U {upper}/written").stdout.strip() == "left4me"
    fuse.host.run("rm", f"{MERGED}/written", user="left4me-game")


def test_a_killed_daemon_ends_the_game_leaves_no_mount_and_the_server_comes_back(fuse: Installed) -> None:
    game = fuse.main_pid(NAME)
    daemon = fuse.host.show(f"left4me-overlay@{NAME}", "MainPID")["MainPID"]
    fuse.host.sh(f"kill -9 {daemon}")
    wait_for(lambda: fuse.main_pid(NAME) != game, seconds=15, what="the end of the game")
    wait_for(lambda: fuse.main_pid(NAME), seconds=30, what="the agent bringing the server back")
    fuse.shows(NAME, "running", seconds=15)
    mounts = fuse.host.sh("cat /proc/1/mountinfo").stdout
    assert mounts.count(f" {MERGED} ") == 1
