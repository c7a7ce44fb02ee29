"""Starting and stopping as jobs of a real cluster: what is logged, what is refused, what happens when run again."""

import shutil
import socket
import time
from datetime import timedelta
from functools import partial

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from jobs import services as engine
from jobs.models import Job
from jobs.worker import run_job
from servers import services
from servers.models import Installation, Server
from servers.runtime import files, get_runtime
from tests.servers.living import lines_of, settled, state_of
from tests.servers.racing import race
from tests.stack import wait_for


def test_start_pressed_twice_at_once_starts_one_game(portal, practice, alice):
    portal.start("cluster")
    jobs = race([partial(services.start_server, by=alice, server=practice)] * 2)
    assert {settled(job) for job in jobs} == {"succeeded"}
    pid = state_of(practice).pid
    again = services.start_server(by=alice, server=practice)
    assert settled(again) == "succeeded"
    assert state_of(practice).pid == pid
    assert lines_of(again.stream_id) == ["It is running already."]


def test_the_last_press_wins_however_fast_they_come(portal, practice, alice):
    portal.start("cluster")
    for _ in range(3):
        services.start_server(by=alice, server=practice)
        services.stop_server(by=alice, server=practice)
        time.sleep(0.1)
    last = services.stop_server(by=alice, server=practice)
    assert settled(last) == "succeeded"
    assert state_of(practice).unit == "stopped"
    for _ in range(3):
        services.stop_server(by=alice, server=practice)
        last = services.start_server(by=alice, server=practice)
        time.sleep(0.1)
    assert settled(last) == "succeeded"
    assert state_of(practice).unit == "running"


def test_restart_gives_a_new_process_and_the_newest_installation(portal, practice, alice, node):
    portal.start("cluster")
    settled(services.start_server(by=alice, server=practice))
    pid = state_of(practice).pid
    old = Installation.objects.get()
    Installation.objects.update(is_current=False)
    new = Installation.objects.create(node=node, game="practice", version="2", state="ready", is_current=True)
    shutil.copytree(services.folder(old), services.folder(new))
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    practice.refresh_from_db()
    assert practice.installation == old
    assert settled(services.restart_server(by=alice, server=practice)) == "succeeded"
    practice.refresh_from_db()
    assert practice.installation == new
    assert state_of(practice).pid not in (None, pid)


def test_a_job_retried_after_another_press_does_nothing(portal, practice, alice):
    portal.start("cluster")
    start = services.start_server(by=alice, server=practice)
    settled(start)
    Job.objects.filter(pk=start.pk).update(state="lost")
    settled(services.stop_server(by=alice, server=practice))
    portal.stop("cluster")
    retried = engine.retry(job=start, by=alice)
    stop = services.stop_server(by=alice, server=practice)
    assert Job.objects.get(pk=retried.pk).state == "cancelled"
    portal.start("cluster")
    assert settled(stop) == "succeeded"
    assert state_of(practice).unit == "stopped"


def test_a_failed_start_retried_after_a_stop_is_what_is_wanted(portal, practice, alice):
    portal.start("cluster")
    start = services.start_server(by=alice, server=practice)
    settled(start)
    settled(services.stop_server(by=alice, server=practice))
    Job.objects.filter(pk=start.pk).update(state="failed")
    assert settled(engine.retry(job=start, by=alice)) == "succeeded"
    practice.refresh_from_db()
    assert (practice.desired, state_of(practice).unit) == ("run", "running")


def test_a_worker_killed_in_mid_start_can_be_followed_by_another_start(portal, practice, alice):
    portal.start("cluster")
    start = services.start_server(by=alice, server=practice)
    wait_for(lambda: Job.objects.get(pk=start.pk).state == "running", what="the start running")
    portal.kill("cluster")
    portal.start("cluster")
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=6))  # pressed at once, it would be the same press
    again = services.start_server(by=alice, server=practice)
    assert settled(start, 70) in ("succeeded", "lost")
    assert settled(again, 30) == "succeeded"
    assert state_of(practice).unit == "running"


def test_a_new_server_waits_until_the_deleted_one_of_its_name_is_gone(portal, practice, alice, bob, blueprint):
    portal.start("cluster")
    settled(services.start_server(by=alice, server=practice))
    old_pid = state_of(practice).pid
    portal.stop("cluster")
    delete = services.delete_server(by=alice, server=practice)
    new = services.create_server(by=bob, name=practice.name, blueprint=blueprint)
    start = services.start_server(by=bob, server=new)
    portal.start("cluster")
    assert (settled(start), settled(delete)) == ("succeeded", "succeeded")
    assert state_of(new).pid not in (None, old_pid)
    tree = django_settings.STATE_DIR / "runtime" / new.name / "upper"
    assert tree.is_dir()
    again = engine.enqueue(
        kind="servers.delete", subject=practice.topic, title="Again", args={"server": practice.pk}, node="local"
    )
    assert settled(again) == "succeeded"
    assert state_of(new).unit == "running"


def test_a_clone_has_the_files_of_its_source(portal, practice, alice):
    portal.start("cluster")
    settled(services.start_server(by=alice, server=practice))
    upper = django_settings.STATE_DIR / "runtime" / practice.name / "upper"
    (upper / "motd.txt").write_text("hello")
    copy, job = services.clone_server(by=alice, server=practice, name="copy")
    assert settled(job) == "succeeded", job.error
    assert settled(services.start_server(by=alice, server=copy)) == "succeeded"
    assert (get_runtime().tree("copy").with_name("upper") / "motd.txt").read_text() == "hello"


def test_a_purge_forgets_what_is_old(portal, practice, alice, node):
    portal.start("cluster")
    settled(services.start_server(by=alice, server=practice))
    settled(services.delete_server(by=alice, server=practice))
    assert services.request_purge(node=node) is None
    assert Server.objects.exists()


def test_a_port_that_another_program_has_is_left_to_it(portal, practice, alice):
    portal.start("cluster")
    port = practice.ports.get()
    with socket.create_server(("", port.number)):
        start = services.start_server(by=alice, server=practice)
        assert settled(start) == "succeeded", start.error
        log = "\n".join(lines_of(start.stream_id))
        assert f"Port {port.number} is used by another program" in log
        moved = practice.ports.get()
        assert f"The server has port {moved.number} instead of {port.number}" in log
        assert (moved.name, moved.number) == (port.name, port.number + 1)
    settled(services.restart_server(by=alice, server=practice))
    assert practice.ports.get() == moved, "its own game is no other program"


@pytest.mark.parametrize("lack", ["room", "files"])
def test_a_restart_that_could_not_start_again_leaves_the_game_running_and_says_why(
    portal, practice, alice, client, monkeypatch, lack
):
    run_job(services.start_server(by=alice, server=practice).pk)
    pid = state_of(practice).pid
    Server.objects.filter(pk=practice.pk).update(unit="running")  # as an agent would see it
    if lack == "room":
        monkeypatch.setattr(files, "START_NEEDS_BYTES", 1 << 60)
    else:
        services.folder(Installation.objects.get()).rename(django_settings.STATE_DIR / "elsewhere")
    restart = services.restart_server(by=alice, server=practice)
    run_job(restart.pk)
    restart.refresh_from_db()
    assert restart.state == "failed"
    assert ("disk is full" if lack == "room" else "are missing on this machine") in restart.error
    assert (state_of(practice).unit, state_of(practice).pid) == ("running", pid)
    client.force_login(alice)
    page = client.get(f"/servers/{practice.name}/").content.decode()
    assert "It runs on as before" in page
    assert "rashed" not in page
