"""What games write on a real host, wherever they can: counted, also what they close to the portal, and bounded."""

import re
from collections.abc import Iterator

import pytest

from tests.deploy.installed import Installed
from tests.deploy.talker import RUNTIME, Talker
from tests.deploy.test_installation import doctor
from tests.stack import wait_for

pytestmark = pytest.mark.host
MIB = 1 << 20
WRITE_CLOSED = """
os.umask(0o077)
os.makedirs("saves/deep")
for number in range(8):
    open(f"saves/deep/{number}", "wb").write(bytes(1 << 20))
os.chmod("saves", 0)
print("closed")
"""
WRITE_SCRATCH = """
os.makedirs("/tmp/hidden")
for place in ("/tmp/hidden/a", "/var/tmp/b"):
    open(place, "wb").write(bytes(4 << 20))
os.chmod("/tmp/hidden", 0)
print("scratched")
"""
WRITE_MEMORY = """
try:
    with open("/dev/shm/all", "wb") as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
except OSError as error:
    print("memory:", error.strerror, os.path.getsize("/dev/shm/all") >> 20, os.listdir("/dev/shm"))
"""


@pytest.fixture(params=["portal", "portal12"], ids=["debian13", "debian12"])
def writer(request: pytest.FixtureRequest) -> Iterator[Talker]:
    found: Installed = request.getfixturevalue(request.param)
    yield from written_by(found, "writer")


@pytest.fixture
def older(portal: Installed) -> Iterator[Talker]:
    yield from written_by(portal, "older")


@pytest.fixture
def unseen(portal: Installed) -> Iterator[Talker]:
    yield from written_by(portal, "unseen")


def written_by(portal: Installed, name: str) -> Iterator[Talker]:
    """A name of its own: while a deleted server's files go, another's of that name would go with them."""
    yield Talker(portal, name)
    portal.api("DELETE", f"/servers/{name}")


def told(writer: Talker, program: str, ends: str) -> str:
    writer.tell(program)
    return str(wait_for(lambda: next((line for line in writer.lines() if line.startswith(ends)), ""), what=ends))


def test_all_that_a_game_writes_is_counted_or_bounded(writer: Talker) -> None:
    portal, host, folder = writer.portal, writer.portal.host, f"{RUNTIME}/{writer.name}"

    def counted(least: int) -> bool:
        disk = portal.server(writer.name)["disk"]
        return disk["bytes"] >= least and not disk["is_cut"]

    told(writer, WRITE_CLOSED, "closed")
    wait_for(lambda: counted(8 * MIB), seconds=120, what="what the game closed, in the sum")
    told(writer, WRITE_SCRATCH, "scratched")
    wait_for(lambda: counted(16 * MIB), seconds=120, what="what is in its scratch folder, in the sum")
    assert host.sh(f"ls {folder}/tmp").stdout.split() == ["b", "hidden"]
    assert told(writer, WRITE_MEMORY, "memory:") == "memory: No space left on device 64 ['all']"
    assert not host.sh("ls /dev/shm | grep -x all", check=False).stdout

    portal.power(writer.name, "stop")
    assert host.sh(f"ls -A {folder}/tmp").stdout == ""
    assert 8 * MIB <= portal.server(writer.name)["disk"]["bytes"] < 9 * MIB
    host.run("ls", f"{folder}/upper/saves/deep", user="left4me")


def test_a_game_that_an_older_release_started_is_restarted_after_an_upgrade(older: Talker) -> None:
    older.portal.host.sh(f"rmdir {RUNTIME}/{older.name}/tmp && bash -c '. /mnt/checkout/deploy/lib.sh; make_scratch'")
    older.restart(lambda: older.tell("os._exit(1)"))
    assert told(older, WRITE_SCRATCH, "scratched")


def test_whoever_measures_sees_nothing_else_of_the_machine(portal: Installed) -> None:
    host = portal.host
    host.run("python3", "-c", ASK, user="left4me")
    process = host.show("left4me-measure", "MainPID")["MainPID"]
    seen = host.sh(f"cd /proc/{process}/root && ls -A . etc run var var/lib var/lib/left4me").stdout
    assert not re.search(r"^(home|root|boot|srv|passwd|postgresql|installations)$", seen, re.MULTILINE), seen
    status = host.sh(f"cat /proc/{process}/status").stdout
    assert re.findall(r"Cap(?:Eff|Bnd|Amb):\s+(\w+)", status) == ["0000000000000004"] * 3
    assert re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1] != "0"  # type: ignore[index]
    done = host.run("python3", "-c", ASK, user="left4me-game", check=False)
    assert "PermissionError" in done.stderr


ASK = """
import socket
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/left4me/measure.sock")
    connection.sendall(b'{"name": "nobody", "enough": null}\\n')
    assert b'"is_done": true' in connection.recv(1000)
"""


def test_without_whoever_measures_the_portal_counts_what_it_sees_and_the_doctor_says_so(unseen: Talker) -> None:
    portal = unseen.portal
    portal.host.run("systemctl", "stop", "left4me-measure.socket", "left4me-measure.service")
    try:
        told(unseen, WRITE_CLOSED, "closed")
        wait_for(lambda: portal.server(unseen.name)["disk"]["is_cut"], seconds=120, what="“at least”")
        found = doctor(portal)["portal units"]
        assert found["state"] == "fail"
        assert "left4me-measure.socket" in found["detail"]
        portal.power(unseen.name, "stop")
        assert portal.server(unseen.name)["disk"]["bytes"] >= 8 * MIB
    finally:
        portal.host.run("systemctl", "start", "left4me-measure.socket")
