"""What a job may do is asked again when it runs, when it is retried and when somebody would call it off."""

import pytest
from django.utils import timezone

from jobs import registry
from jobs import services as engine
from jobs.models import Job
from jobs.worker import run_job
from portal.models import User
from servers import access, services
from servers.access import FeedPolicy
from servers.models import Installation, Layer, Membership, Right
from tests.api import Api

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def installed(node):
    return Installation.objects.create(node=node, game="practice", version="1", state="ready", is_current=True)


def suspend(user):
    User.objects.filter(pk=user.pk).update(suspended_at=timezone.now())


def ran(job):
    run_job(job.pk)
    job.refresh_from_db()
    return job


def over(job, state="failed"):
    Job.objects.filter(pk=job.pk).update(state=state, finished_at=timezone.now())
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("press", [services.start_server, services.restart_server])
def test_a_start_of_a_server_whose_owner_was_suspended_meanwhile_does_not_run(alice, bob, server, share, press):
    share(bob, Right.POWER)
    job = press(by=bob, server=server)
    suspend(alice)
    assert (ran(job).state, "is suspended" in job.error) == ("failed", True)


def test_an_old_start_cannot_be_retried_once_the_owner_is_suspended(alice, bob, mod, server, share):
    share(bob, Right.POWER)
    old = over(services.start_server(by=alice, server=server))
    suspend(alice)
    for user in (bob, mod):
        answer = Api(user)("post", f"/jobs/{old.pk}/retry", None)
        assert answer.status_code == 202
        again = Job.objects.get(pk=answer.json()["job"])
        assert (ran(again).state, "is suspended" in again.error) == ("failed", True)


@pytest.mark.parametrize(
    ("ask", "right"),
    [
        (services.start_server, Right.POWER),
        (services.stop_server, Right.POWER),
        (services.restart_server, Right.POWER),
        (services.look_at_files, Right.FILES),
    ],
)
@pytest.mark.parametrize("how", ["taken", "suspended"])
def test_a_job_whose_asker_lost_the_right_does_not_run(bob, server, share, ask, right, how):
    membership = share(bob, right)
    job = ask(by=bob, server=server)
    if how == "taken":
        Membership.objects.filter(pk=membership.pk).update(rights=[Right.VIEW])
    else:
        suspend(bob)
    assert (ran(job).state, job.error) == ("failed", "bob may not do this any more. Ask somebody who may.")


def test_what_a_moderator_asked_for_who_was_suspended_since_does_not_run(mod, server):
    job = services.look_at_files(by=mod, server=server)
    suspend(mod)
    mod.refresh_from_db()
    assert not FeedPolicy.may_retry_job(mod, job)
    assert (ran(job).state, job.error) == ("failed", "mod may not do this any more. Ask somebody who may.")


def test_the_stop_of_a_suspension_runs_though_its_moderator_is_none_any_more(alice, mod, server):
    suspend(alice)
    stop = services.stop_server(by=mod, server=server)
    User.objects.filter(pk=mod.pk).update(is_staff=False)
    assert FeedPolicy.objection(Job.objects.get(pk=stop.pk)) == ""


def test_a_build_asked_for_by_somebody_suspended_since_does_not_run(alice, node):
    services.create_layer(
        by=alice, name="Mine", game="practice", kind="files", visibility="private", source={"files": {"a.cfg": "x"}}
    )
    suspend(alice)
    job = ran(Job.objects.get())
    assert (job.state, "any more" in job.error) == ("failed", True)
    assert not Layer.objects.get().builds.exists()


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_stop_that_a_moderator_asked_for_is_not_called_off_by_the_owner(alice, bob, mod, server, share, state):
    share(bob, Right.POWER)
    stop = services.stop_server(by=mod, server=server)
    if state == "running":
        Job.objects.filter(pk=stop.pk).update(state="running", started_at=timezone.now())
    for user in (alice, bob):
        answer = Api(user)("post", f"/jobs/{stop.pk}/cancel", None)
        assert (answer.status_code, "Ask the server's owner or a moderator" in answer.json()["detail"]) == (403, True)
    services.start_server(by=alice, server=server)
    services.restart_server(by=alice, server=server)
    stop.refresh_from_db()
    assert (stop.state, stop.cancel_requested_at) == (state, None)
    assert Api(mod)("post", f"/jobs/{stop.pk}/cancel", None).status_code == 202


def test_a_moderators_stop_is_done_although_the_owner_pressed_start_since(alice, mod, server):
    stop = services.stop_server(by=mod, server=server)
    start = services.start_server(by=alice, server=server)
    take_up = {"server": server, "desired": "stop", "unless": [start.kind]}
    assert services.take_up(job=stop.pk, **take_up) is None
    for job in (stop, start):
        over(job, "succeeded")
    own = services.stop_server(by=alice, server=server)
    start = services.start_server(by=alice, server=server)
    assert services.take_up(job=own.pk, **take_up) == start


def test_a_moderators_stop_is_not_one_with_the_owners_that_waits(alice, mod, server):
    own = services.stop_server(by=alice, server=server)
    stop = services.stop_server(by=mod, server=server)
    assert stop != own
    assert not FeedPolicy.may_cancel_job(alice, stop)


def test_what_a_member_asked_for_is_called_off_as_before(alice, bob, server, share):
    share(bob, Right.POWER)
    stop = services.stop_server(by=alice, server=server)
    assert FeedPolicy.may_cancel_job(bob, stop)
    services.start_server(by=bob, server=server)
    stop.refresh_from_db()
    assert stop.state == "cancelled"


RETRIES = {
    "servers.start": {Right.POWER},
    "servers.stop": {Right.POWER},
    "servers.restart": {Right.POWER},
    "servers.look_at_files": {Right.FILES},
    "servers.revert_files": {Right.FILES},
    "servers.clone": None,  # the owner's alone
    "servers.delete": None,
}


def test_retrying_takes_the_right_that_asking_takes(alice, bob, charlie, mod, server, share):
    membership = share(bob)
    job = services.look_at_files(by=alice, server=server)
    registry.load()
    for kind in (kind for kind in registry._kinds if kind.startswith("servers.")):
        job.kind = kind
        right = RETRIES.get(kind, set())
        for given in Right:
            Membership.objects.filter(pk=membership.pk).update(rights=[Right.VIEW, given])
            assert FeedPolicy.may_retry_job(bob, job) == (given in (right or ())), (kind, given)
        assert FeedPolicy.may_retry_job(alice, job) == (kind in RETRIES or kind not in access.FOR_STAFF)
        assert (FeedPolicy.may_retry_job(mod, job), FeedPolicy.may_retry_job(charlie, job)) == (True, False)


@pytest.mark.parametrize(
    ("kind", "args", "says"),
    [
        ("layers.build", {"layer": 1, "upload": "no-number"}, "not the number of an upload"),
        ("installations.install", {"node": "gone", "game": "practice"}, "no machine gone"),
        ("installations.check", {"node": "gone", "game": "practice"}, "no machine gone"),
        ("installations.clean_up", {"node": "gone", "game": "practice"}, "no machine gone"),
        ("servers.start", {"server": 999}, "was deleted"),
        ("servers.stop", {"server": 999}, "was deleted"),
        ("servers.clone", {"server": 999, "source": 998}, "was deleted"),
        ("servers.look_at_files", {"server": 999}, "was deleted"),
        ("servers.start", {"server": 2**70}, "was deleted"),
    ],
)
def test_arguments_that_make_no_sense_any_more_fail_with_a_sentence(node, kind, args, says):
    job = ran(engine.enqueue(kind=kind, subject="thing:1", title="X", args=args, node="local"))
    assert (job.state, says in job.error) == ("failed", True), job.error


def test_deleting_what_is_gone_for_good_is_done(node):
    args = {"server": 999}
    assert (
        ran(engine.enqueue(kind="servers.delete", subject="x", title="X", args=args, node="local")).state == "succeeded"
    )
