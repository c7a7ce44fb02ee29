"""What games write: measured by the agent, told near the limit, stopped beyond it, and nobody else's trouble."""

import os
import threading
from pathlib import Path

import pytest
from django.test import Client

from jobs.models import Job
from jobs.registry import JobError
from jobs.run import Run
from servers import services, tasks
from servers.agent import measuring
from servers.agent.measuring import Measuring
from servers.errors import DiskLimit
from servers.models import AuditEvent, Server
from servers.runtime import get_runtime, walking
from servers.runtime.measuring import Measure
from servers.services import quotas
from servers.sizes import PER_FILE
from tests.servers.living import lines_of, settled, state_of
from tests.stack import wait_for

MIB = 1 << 20
# Writes 18 MiB, and without end once it is told to go on.
WRITER = """
import os, time
file, written = open("junk", "wb"), 0
while True:
    if written < 18 or os.path.exists("go-on"):
        file.write(bytes(1 << 20)); file.flush(); written += 1
    time.sleep(0.02)
"""
IDLE = "import time\nwhile True: time.sleep(1)"


def counted(folder: Path, **more) -> Measure:
    measure = Measure([(folder, 0.0)], **more)
    while not measure.step():
        pass
    return measure


@pytest.fixture
def limits(portal, settings):
    """20 MiB for each member, measured every second."""
    settings.DISK_QUOTA = 20 * MIB
    portal.environment |= {"LEFT4ME_DISK_QUOTA": str(20 * MIB), "LEFT4ME_DISK_SECONDS": "1"}


@pytest.mark.usefixtures("limits")
def test_a_game_that_writes_without_end_is_warned_about_then_stopped_and_others_go_on(
    portal, scripted, client: Client, alice, bob
) -> None:
    portal.start("cluster")
    portal.start("agent")
    greedy, calm = scripted(WRITER), scripted(IDLE)
    bobs = scripted(IDLE)
    Server.objects.filter(pk=bobs.pk).update(owner=bob)
    bobs.refresh_from_db()
    for server in (greedy, calm, bobs):
        assert settled(services.start_server(by=server.owner, server=server)) == "succeeded"

    def warned() -> bool:
        alice.refresh_from_db()
        return alice.disk_used >= 18 * MIB

    client.force_login(alice)
    wait_for(warned, seconds=30, what="the warning")
    page = client.get(f"/servers/{greedy.name}/").content.decode()
    assert "MB of 20.0 MB of disk are used. Beyond that" in page
    assert state_of(greedy).unit == "running"

    tree = Path(f"/proc/{state_of(greedy).pid}/root{get_runtime().tree(greedy.name)}")
    (tree / "go-on").touch()
    wait_for(lambda: state_of(greedy).unit == "stopped", seconds=30, what="the stop")
    greedy.refresh_from_db()
    assert greedy.desired == "stop"
    assert any("[left4me] Stopped, since it goes on writing" in line for line in lines_of(greedy.console_id))
    assert AuditEvent.objects.filter(server=greedy, action="disk full").count() == 1
    assert state_of(calm).unit == "running", "it writes nothing"
    wait_for(lambda: not Job.objects.active().exists(), seconds=30, what="rest")
    page = client.get(f"/servers/{greedy.name}/").content.decode()
    assert "so no server starts and nothing is uploaded or built" in page
    with pytest.raises(DiskLimit, match="or revert what a server has changed"):
        services.start_server(by=alice, server=greedy)
    assert client.post("/uploads/", {"name": "a.zip", "size": 1}, content_type="application/json").status_code == 409

    assert services.begin_upload(by=bob, filename="a.zip", size=MIB)
    assert settled(services.restart_server(by=bob, server=bobs)) == "succeeded"

    revert = services.revert_files(by=alice, server=greedy, paths=["junk", "go-on"])
    assert revert
    assert settled(revert) == "succeeded", revert.error
    assert not quotas.disk_use(alice).is_near
    start = services.start_server(by=alice, server=greedy)
    assert settled(start) == "succeeded", start.error


def test_a_start_that_was_asked_for_before_is_refused_by_its_job(alice, practice, settings) -> None:
    job = services.start_server(by=alice, server=practice)
    settings.DISK_QUOTA = MIB
    Server.objects.update(disk_bytes=2 * MIB)
    with pytest.raises(JobError, match=r"2.0 MB of 1.0 MB"):
        tasks.start(Run(job.pk), server=practice.pk)
    assert state_of(practice).unit == "stopped"


def test_files_are_counted_by_what_they_take(tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/full").write_bytes(b"x" * 2 * MIB)
    os.truncate(os.open(tmp_path / "sparse", os.O_CREAT | os.O_WRONLY), 1 << 40)
    (tmp_path / "link").symlink_to("/")
    assert 2 * MIB + 3 * PER_FILE <= counted(tmp_path).size < 3 * MIB
    assert counted(tmp_path / "nothing").size == 0
    for number in range(1000):
        (tmp_path / f"empty-{number}").touch()
    assert counted(tmp_path).size >= 2 * MIB + 1000 * PER_FILE


def test_what_lies_deeper_than_a_path_may_be_long_is_counted_in_bounded_steps(tmp_path, make_deep) -> None:
    make_deep(tmp_path, 3000, beside="side", bottom=bytes(8 * MIB))
    measure = Measure([(tmp_path, 0.0)])
    before = steps = 0
    while not measure.step():
        steps += 1
        assert measure.size - before <= 9 * MIB
        before = measure.size
        assert len(os.listdir("/proc/self/fd")) < 200
    assert steps >= 9000
    assert measure.size >= 8 * MIB + 9000 * PER_FILE
    assert measure.is_deep
    assert not measure.is_cut


def test_what_is_hidden_too_deep_to_be_seen_is_beyond_every_limit(tmp_path, make_deep) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make_deep(tmp_path / name, 1000, letters=255)
    measure = counted(tmp_path)
    assert 1 << 40 < measure.size < 1 << 41
    assert measure.is_cut
    assert counted(tmp_path, enough=MIB).size > MIB


def test_folders_that_are_closed_take_a_step_each(tmp_path, monkeypatch) -> None:
    for number in range(1000):
        (tmp_path / str(number)).mkdir()
    opened = walking.open_beneath

    def only_top(root: int, path: str, flags: int) -> int:
        if path != ".":
            raise PermissionError
        return opened(root, path, flags)

    monkeypatch.setattr(walking, "open_beneath", only_top)
    measure, steps = Measure([(tmp_path, 0.0)]), 0
    while not measure.step():
        steps += 1
    assert steps > 1000
    assert (measure.size, measure.is_cut) == (1000 * PER_FILE, True)


def test_more_folders_than_there_is_memory_for_are_beyond_every_limit(tmp_path, monkeypatch) -> None:
    for number in range(100):
        (tmp_path / ("d" * 255) / str(number)).mkdir(parents=True)
    assert not counted(tmp_path).is_cut
    monkeypatch.setattr(walking, "MOST_HELD", 20_000)
    measure = counted(tmp_path)
    assert measure.size > 1 << 40
    assert measure.is_cut


def test_what_cannot_be_opened_is_said(tmp_path) -> None:
    assert not counted(tmp_path).is_cut
    (tmp_path / "file").touch()
    assert counted(tmp_path / "file").is_cut


def test_a_walk_ends_where_it_is_enough(tmp_path) -> None:
    for number in range(100):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/file").write_bytes(bytes(MIB))
    assert 5 * MIB < counted(tmp_path, enough=5 * MIB).size < 8 * MIB


def test_folders_that_are_moved_while_they_are_counted_lead_nowhere_else(tmp_path) -> None:
    (tmp_path / "own/a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/large").write_bytes(bytes(8 * MIB))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tmp_path / "own/a", tmp_path / "own/b")
            os.symlink(tmp_path / "other", tmp_path / "own/a")
            os.unlink(tmp_path / "own/a")
            os.rename(tmp_path / "own/b", tmp_path / "own/a")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        assert max(counted(tmp_path / "own").size for _ in range(500)) < MIB
    finally:
        stop.set()
        thread.join()


def test_the_agent_measures_whose_turn_it_is_a_slice_at_a_time(server, node, settings, tmp_path, monkeypatch) -> None:
    settings.STATE_DIR = tmp_path
    get_runtime.cache_clear()
    upper = tmp_path / "runtime" / server.name / "upper"
    upper.mkdir(parents=True)
    for number in range(50):
        (upper / str(number)).mkdir()
    monkeypatch.setattr(measuring, "SLICE", 0)
    agent = Measuring(node)
    agent.step()
    server.refresh_from_db()
    assert server.disk_measured_at is None, "no time, so nothing was done"
    monkeypatch.setattr(measuring, "SLICE", 5)
    agent.step()
    server.refresh_from_db()
    assert (server.disk_bytes, server.disk_is_cut) == (50 * PER_FILE, False)
    first = server.disk_measured_at
    agent.step()
    server.refresh_from_db()
    assert server.disk_measured_at == first, "it is at rest"
    Server.objects.update(unit="running")
    settings.DISK_SECONDS = 0
    agent._next()
    get_runtime.cache_clear()


def test_a_deleted_server_is_deleted_for_good_by_its_owner_alone(portal, scripted, client: Client, alice, bob) -> None:
    portal.start("cluster")
    server = scripted(IDLE)
    upper = get_runtime().upper(server.name)
    upper.mkdir(parents=True)
    (upper / "save").write_bytes(bytes(MIB))
    assert settled(services.delete_server(by=alice, server=server)) == "succeeded"
    assert quotas.disk_use(alice).used >= MIB
    client.force_login(bob)
    assert client.post("/deleted-servers/", {"server": server.pk}).status_code == 404
    client.force_login(alice)
    for wrong in ("", "x", "9" * 30):
        assert client.post("/deleted-servers/", {"server": wrong}).status_code == 404
    assert server.name in client.get("/deleted-servers/").content.decode()
    assert client.post("/deleted-servers/", {"server": server.pk}).status_code == 302
    job = Job.objects.get(kind="servers.forget")
    assert settled(job) == "succeeded", job.error
    assert not Server.objects.filter(pk=server.pk).exists()
    assert quotas.disk_use(alice).used == 0
    assert not list((upper.parent.parent / ".trash").iterdir())


def test_a_server_that_was_restored_is_not_deleted_for_good(alice, mod, server) -> None:
    services.delete_server(by=alice, server=server)
    job = services.delete_for_good(by=alice, server=server)
    Server.objects.update(deleted_at=None)
    with pytest.raises(JobError, match="is not deleted"):
        tasks.forget(Run(job.pk), server=server.pk)
    assert Server.objects.exists()
