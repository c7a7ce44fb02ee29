"""What moderators do with jobs and logs in the admin."""

import pytest
from django.test import Client

from jobs import streams
from jobs.models import Job, Stream
from portal.models import User
from servers import services
from servers.models import Server

JOBS, STREAMS = "/admin/jobs/job/", "/admin/jobs/stream/"


@pytest.fixture
def helper(client: Client, db: None) -> Client:
    """A moderator who is no administrator."""
    client.force_login(User.objects.create_user("helper", is_staff=True))
    return client


@pytest.fixture
def job(server: Server, alice: User) -> Job:
    return services.stop_server(by=alice, server=server)


def choose(client: Client, action: str, job: Job, **form: str) -> str:
    sent = {"action": action, "_selected_action": job.pk, **form}
    return client.post(JOBS, sent, follow=True).content.decode()


def test_a_job_is_cancelled_and_retried_once_confirmed(helper: Client, job: Job) -> None:
    assert "asked to stop" in choose(helper, "cancel", job)
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED
    assert "is cancelled." in choose(helper, "cancel", job, confirmed="1")
    assert "has ended already" in choose(helper, "cancel", job, confirmed="1")
    assert "runs again as job" in choose(helper, "retry", job, confirmed="1")
    again = Job.objects.get(state="queued")
    assert (again.retry_of, again.requested_by) == (job, User.objects.get(username="helper"))
    assert "has not ended yet" in choose(helper, "retry", again, confirmed="1")


def test_jobs_and_streams_cannot_be_edited(helper: Client, job: Job) -> None:
    for address in (f"{JOBS}{job.pk}/change/", f"{STREAMS}{job.stream_id}/change/"):
        assert helper.get(address).status_code == 200
        assert helper.post(address, {"state": "succeeded", "last_seq": "9"}).status_code == 403


def test_rows_link_to_where_the_log_is(helper: Client, job: Job) -> None:
    streams.append(job.stream_id, ["hello"])
    for address, link in ((JOBS, f"/jobs/{job.pk}/"), (STREAMS, f"/streams/{job.stream_id}.txt")):
        assert f'href="{link}"' in helper.get(address).content.decode()
        assert helper.get(link).status_code == 200


def test_lists_cost_the_same_for_fifty_rows(helper: Client, alice: User, django_assert_max_num_queries) -> None:
    for number in range(50):
        Job.objects.create(
            kind="servers.stop",
            subject=f"server:{number}",
            title="Stop",
            node="local",
            stream=Stream.objects.create(),
            requested_by=alice,
        )
    for address in (JOBS, STREAMS):
        with django_assert_max_num_queries(8):  # session, user, count, rows, values of two filters
            assert helper.get(address).status_code == 200
