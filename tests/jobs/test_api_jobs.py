"""Jobs and streams over the HTTP API."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from jobs import streams
from jobs.models import Job
from portal.models import User
from servers import services
from servers.models import Membership, Right, Server
from tests.api import Api


@pytest.fixture
def job(server: Server, alice: User) -> Job:
    return services.stop_server(by=alice, server=server)


def test_a_job_tells_how_it_fares(job: Job, alice: User) -> None:
    told = Api(alice)("get", f"/jobs/{job.pk}").json()
    assert {key: told[key] for key in ("id", "kind", "state", "stream", "error")} == {
        "id": job.pk,
        "kind": "servers.stop",
        "state": "queued",
        "stream": job.stream_id,
        "error": "",
    }


def test_lines_are_read_from_a_number_on(job: Job, alice: User) -> None:
    streams.append(job.stream_id, ["one", "two", "<b>three</b>"])
    asks = Api(alice)
    first = asks("get", f"/streams/{job.stream_id}/lines?limit=2").json()
    assert [(seq, text) for seq, _, text in first["lines"]] == [(1, "one"), (2, "two")]
    assert first["next"] == 2
    rest = asks("get", f"/streams/{job.stream_id}/lines?after=2").json()
    assert [text for _, _, text in rest["lines"]] == ["<b>three</b>"]
    assert asks("get", f"/streams/{job.stream_id}/lines?after=3").json() == {"lines": [], "next": 3}


def test_cancelling_and_retrying_answer_with_a_job(job: Job, alice: User) -> None:
    asks = Api(alice)
    assert asks("post", f"/jobs/{job.pk}/cancel").json() == {"job": job.pk}
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    again = asks("post", f"/jobs/{job.pk}/retry")
    assert again.status_code == 202
    assert Job.objects.get(pk=again.json()["job"]).retry_of == job


def test_what_cannot_be_done_is_a_conflict(job: Job, alice: User) -> None:
    asks = Api(alice)
    assert "has not ended yet" in asks("post", f"/jobs/{job.pk}/retry").json()["detail"]
    asks("post", f"/jobs/{job.pk}/cancel")
    refused = asks("post", f"/jobs/{job.pk}/cancel")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "This job has ended already."


def paths(job: Job) -> list[tuple[str, str]]:
    return [
        ("get", f"/jobs/{job.pk}"),
        ("post", f"/jobs/{job.pk}/cancel"),
        ("post", f"/jobs/{job.pk}/retry"),
        ("get", f"/streams/{job.stream_id}/lines"),
    ]


def test_a_stranger_is_told_there_is_no_such_thing(job: Job, charlie: User, server: Server) -> None:
    asks = Api(charlie)
    for method, path in [*paths(job), ("get", f"/streams/{server.console_id}/lines")]:
        assert asks(method, path).status_code == 404
    job.refresh_from_db()
    assert job.state == Job.State.QUEUED


def test_without_a_token_or_suspended_nobody_gets_through(job: Job, alice: User) -> None:
    suspended = Api(alice)
    User.objects.update(suspended_at=timezone.now())
    for method, path in paths(job):
        assert Api()(method, path).status_code == 401
        assert suspended(method, path).status_code == 401


def test_a_viewer_watches_but_does_not_cancel(job: Job, bob: User, share: Callable[..., Membership]) -> None:
    share(bob)
    asks = Api(bob)
    assert [asks(method, path).status_code for method, path in paths(job)] == [200, 403, 403, 200]


def test_a_console_needs_its_own_right(server: Server, bob: User, share: Callable[..., Membership]) -> None:
    share(bob, Right.POWER)
    asks = Api(bob)
    assert asks("get", f"/streams/{server.console_id}/lines").status_code == 404
    Membership.objects.update(rights=["console", "view"])
    assert asks("get", f"/streams/{server.console_id}/lines").status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "99999999999999999999", "one"])
def test_numbers_out_of_bounds_are_told(db: None, alice: User, number: str) -> None:
    asks = Api(alice)
    assert asks("get", f"/jobs/{number}").status_code == 422
    assert asks("get", f"/streams/{number}/lines").status_code == 422
