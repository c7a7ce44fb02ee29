"""Start, stop and restart: one transaction for wish and job; the last press wins."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from jobs import services as engine
from jobs.models import Job
from portal.models import User
from servers import services
from servers.errors import OwnerSuspended, ServerGone
from servers.models import AuditEvent, Installation, Server
from tests.api import Api
from tests.servers.racing import race


@pytest.fixture
def installed(node):
    return Installation.objects.create(node=node, game="practice", version="1", state="ready", is_current=True)


def suspend(user):
    User.objects.filter(pk=user.pk).update(suspended_at=timezone.now())


def set_state(job, state):
    fields = {"started_at": timezone.now()} if state == "running" else {"finished_at": timezone.now()}
    Job.objects.filter(pk=job.pk).update(state=state, **fields)


def states(*jobs):
    return [Job.objects.get(pk=job.pk).state for job in jobs]


def test_start_says_what_is_wanted_and_enqueues_the_job(alice, server, installed):
    job = services.start_server(by=alice, server=server)
    server.refresh_from_db()
    assert server.desired == "run"
    assert (job.kind, job.subject, job.node, job.args) == (
        "servers.start", server.topic, server.node.slug, {"server": server.pk},
    )  # fmt: skip
    assert (job.title, job.requested_by, job.after) == ("Start alices-practice", alice, None)
    assert AuditEvent.objects.get(server=server).detail == {"name": server.name, "job": job.pk}


def test_start_pressed_twice_is_one_job(alice, server, installed):
    first, second = (services.start_server(by=alice, server=server) for _ in range(2))
    assert first == second


def test_two_starts_at_the_same_moment_are_one_job(transactional_db, alice, server, installed):
    results = race([partial(services.start_server, by=alice, server=server)] * 4)
    assert len({job.pk for job in results}) == 1
    assert Job.objects.count() == 1


def test_a_game_that_is_not_there_is_installed_first(alice, server):
    job = services.start_server(by=alice, server=server)
    assert (job.after.kind, job.after.subject) == ("installations.install", "installation:local:practice")
    assert services.start_server(by=alice, server=server) == job
    assert Job.objects.count() == 2


def test_a_start_waits_for_the_installation_that_runs_already(alice, server, node):
    install = services.install_game(by=None, node=node, game="practice")
    set_state(install, "running")
    assert services.start_server(by=alice, server=server).after == install


def test_stop_cancels_a_start_that_waits(alice, server):
    start = services.start_server(by=alice, server=server)
    stop = services.stop_server(by=alice, server=server)
    server.refresh_from_db()
    assert server.desired == "stop"
    assert states(start, stop) == ["cancelled", "queued"]


def test_stop_asks_a_running_start_to_end(alice, server, installed):
    start = services.start_server(by=alice, server=server)
    set_state(start, "running")
    services.stop_server(by=alice, server=server)
    assert Job.objects.get(pk=start.pk).cancel_requested_at


def test_start_cancels_a_stop_that_waits_but_not_one_that_runs(alice, server, installed):
    waiting = services.stop_server(by=alice, server=server)
    services.start_server(by=alice, server=server)
    assert states(waiting) == ["cancelled"]
    running = services.stop_server(by=alice, server=server)
    set_state(running, "running")
    start = services.start_server(by=alice, server=server)
    assert states(running, start) == ["running", "queued"]
    assert not Job.objects.get(pk=running.pk).cancel_requested_at


def test_whatever_is_pressed_at_once_the_wish_and_the_last_job_agree(transactional_db, alice, server, installed):
    presses = [services.start_server, services.stop_server, services.restart_server] * 3
    results = race([partial(press, by=alice, server=server) for press in presses])
    assert all(isinstance(result, Job) for result in results), results
    server.refresh_from_db()
    waiting = Job.objects.filter(state="queued")
    wish = {"servers.stop": "stop"}.get(waiting.order_by("pk").last().kind, "run")
    assert wish == server.desired
    if server.desired == "stop":
        assert waiting.count() == 1


def test_a_suspended_owners_server_cannot_be_started_by_anybody(alice, mod, server, installed):
    suspend(alice)
    for press in (services.start_server, services.restart_server):
        with pytest.raises(OwnerSuspended, match="suspended"):
            press(by=mod, server=server)
    assert not Job.objects.exists()
    services.stop_server(by=mod, server=server)


def test_suspension_stops_what_runs_or_wants_to(alice, mod, server, installed):
    services.start_server(by=alice, server=server)
    assert [job.kind for job in services.stop_servers_of(by=mod, owner=alice)] == ["servers.stop"]
    server.refresh_from_db()
    assert server.desired == "stop"


def test_suspension_leaves_what_is_stopped_alone(alice, mod, server):
    assert services.stop_servers_of(by=mod, owner=alice) == []
    assert not Job.objects.exists()


def test_a_start_at_the_moment_of_suspension_does_not_survive_it(transactional_db, alice, mod, server, installed):
    def suspend_and_stop():
        suspend(alice)
        services.stop_servers_of(by=mod, owner=alice)

    race([partial(services.start_server, by=alice, server=server), suspend_and_stop])
    server.refresh_from_db()
    assert server.desired == "stop"
    assert not Job.objects.filter(kind="servers.start", state="queued").exists()


@pytest.mark.parametrize("press", [services.start_server, services.stop_server, services.restart_server])
def test_a_deleted_server_takes_no_press(alice, server, installed, press):
    services.delete_server(by=alice, server=server)
    with pytest.raises(ServerGone, match="deleted"):
        press(by=alice, server=Server.objects.get(pk=server.pk))
    server.refresh_from_db()
    assert server.desired == "stop"


def test_a_member_with_too_many_jobs_is_told_so_on_the_page_and_by_the_api(
    client, alice, server, installed, monkeypatch
):
    monkeypatch.setattr(engine, "MOST_OF_MEMBER", 0)
    client.force_login(alice)
    answer = client.post(f"/servers/{server.name}/stop/", headers={"HX-Request": "true"})
    assert (answer.status_code, "You have 0 jobs under way" in answer.headers["HX-Trigger"]) == (409, True)
    refusal = Api(alice)("post", f"/servers/{server.name}/stop", None)
    assert (refusal.status_code, "under way" in refusal.json()["detail"]) == (409, True)
    assert not Job.objects.exists()


PRESSES = [services.start_server, services.stop_server, services.restart_server]


@pytest.mark.parametrize("state", ["queued", "running"])
@pytest.mark.parametrize("press", PRESSES)
def test_twenty_presses_at_once_are_one_job_and_one_entry(transactional_db, alice, server, installed, press, state):
    first = press(by=alice, server=server)
    if state == "running":
        set_state(first, "running")
    found = race([partial(press, by=alice, server=server)] * 20)
    assert {*found} == {first}
    assert Job.objects.count() == 1
    assert AuditEvent.objects.filter(server=server).count() == 1


def test_a_restart_pressed_twice_restarts_once_also_when_the_first_was_quick(alice, server, installed):
    first = services.restart_server(by=alice, server=server)
    set_state(first, "succeeded")
    Job.objects.update(created_at=timezone.now())
    assert services.restart_server(by=alice, server=server) == first
    Job.objects.update(created_at=timezone.now() - timedelta(seconds=2))  # no double click: it is meant
    assert services.restart_server(by=alice, server=server) != first


@pytest.mark.parametrize("between", ["stop", "settings", "another's press", "six seconds", "its failure"])
def test_a_restart_that_means_something_new_is_done(alice, bob, server, installed, share, between):
    first = services.restart_server(by=alice, server=server)
    set_state(first, "failed" if between == "its failure" else "running")
    by = alice
    if between == "stop":
        services.stop_server(by=alice, server=server)
    elif between == "settings":
        services.change_settings(by=alice, server=server, changes={})
    elif between == "another's press":
        by = bob
    else:
        Job.objects.update(created_at=timezone.now() - timedelta(seconds=6 if between == "six seconds" else 0))
    again = services.restart_server(by=by, server=server)
    assert again != first
    assert states(again) == ["queued"]


def test_a_look_and_a_build_that_run_are_joined_but_not_by_a_change(alice, server, node):
    look = services.look_at_files(by=alice, server=server)
    set_state(look, "running")
    assert services.look_at_files(by=alice, server=server) == look
    layer = services.create_layer(
        by=alice, name="Mine", game="practice", kind="files", visibility="private", source={"files": {"a.cfg": "x"}}
    )
    build = Job.objects.get(subject=layer.topic)
    set_state(build, "running")
    assert services.build_layer(by=alice, layer=layer) == build
    assert services.write_layer_file(by=alice, layer=layer, path="a.cfg", text="y") != build
