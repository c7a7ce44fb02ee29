"""The job page and the JSON of a log: who may see and press what, and what a search finds."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import searches, streams
from jobs.models import Job
from portal.models import User
from servers import services
from servers.models import Right, Server

HTMX = {"HX-Request": "true"}


@pytest.fixture
def job(server: Server, alice: User) -> Job:
    """A queued start of Alice's server."""
    return services.start_server(by=alice, server=server)


def end(job: Job, state: str, error: str = "") -> None:
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(state=state, started_at=now, finished_at=now, error=error)


@pytest.mark.parametrize(
    "path", ["/jobs/{job}/", "/jobs/{job}/part/", "/streams/{stream}/lines/", "/streams/{stream}/search/?q=x"]
)
def test_a_job_and_its_log_are_for_who_may_view_its_server(
    client: Client, job: Job, alice: User, bob: User, charlie: User, mod: User, share, path: str
) -> None:
    address = path.format(job=job.pk, stream=job.stream_id)
    assert client.get(address).headers["Location"].startswith("/accounts/login/")
    assert client.get(address, headers={"Accept": "application/json"}).status_code == 401
    share(bob)
    for user, status in ((alice, 200), (bob, 200), (mod, 200), (charlie, 404)):
        client.force_login(user)
        assert client.get(address).status_code == status
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert client.get(address).status_code == 302


@pytest.mark.parametrize("path", ["/jobs/999999/", "/streams/999999/lines/", "/streams/999999/search/?q=x"])
def test_what_is_not_there_is_not_found(client: Client, mod: User, path: str) -> None:
    client.force_login(mod)
    assert client.get(path).status_code == 404


def test_a_console_needs_its_own_right(client: Client, server: Server, bob: User, share) -> None:
    membership = share(bob, Right.POWER)
    client.force_login(bob)
    address = f"/streams/{server.console_id}/lines/"
    assert client.get(address).status_code == 404
    membership.rights.append(Right.CONSOLE)
    membership.save()
    assert client.get(address).status_code == 200


def test_the_page_says_who_asked_for_what_and_leads_to_the_server(client: Client, job: Job, alice: User) -> None:
    client.force_login(alice)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Start alices-practice" in page
    assert 'href="/servers/alices-practice/"' in page
    assert "Install Practice (demonstration)" in page, "what it waits for"
    assert "alice" in page


def test_a_job_that_waits_says_for_what(client: Client, job: Job, server: Server, alice: User) -> None:
    client.force_login(alice)

    def says() -> str:
        return client.get(f"/jobs/{later.pk}/part/").content.decode()

    later = job
    assert "Install Practice (demonstration)</a> has succeeded." in says()
    assert f'data-topic="{server.topic} job:{job.pk} {job.after.subject}"' in says()
    end(job.after, "succeeded")
    assert "It waits for its turn: no worker is free yet." in says()
    Job.objects.filter(pk=job.pk).update(state="running", started_at=timezone.now())
    later = services.look_at_files(by=alice, server=server)
    assert f'<a href="/jobs/{job.pk}/">Start alices-practice</a> has ended.' in says()
    end(job, "succeeded")
    assert "It waits for its turn: no worker is free yet." in says()


def test_a_queued_job_is_cancelled_by_who_may_start_the_server(
    client: Client, job: Job, bob: User, charlie: User, share
) -> None:
    address = f"/jobs/{job.pk}/cancel/"
    assert client.post(address).status_code == 302
    client.force_login(charlie)
    assert client.post(address).status_code == 404
    membership = share(bob)
    client.force_login(bob)
    assert client.post(address).status_code == 403
    assert "Cancel</button>" not in client.get(f"/jobs/{job.pk}/").content.decode()
    membership.rights.append(Right.POWER)
    membership.save()
    assert "Cancel</button>" in client.get(f"/jobs/{job.pk}/").content.decode()
    assert client.post(address, headers=HTMX).status_code == 204
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert client.post(address, headers=HTMX).status_code == 409
    assert client.get(address).status_code == 405


def test_a_failed_job_says_why_and_is_tried_again(client: Client, job: Job, alice: User) -> None:
    end(job, "failed", "Port 27015 is in use. Stop what uses it, then try again.")
    client.force_login(alice)
    page = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Port 27015 is in use." in page
    assert "Try again" in page
    answer = client.post(f"/jobs/{job.pk}/retry/")
    again = Job.objects.get(retry_of=job)
    assert answer.headers["Location"] == f"/jobs/{again.pk}/"
    assert f'href="/jobs/{again.pk}/"' in client.get(f"/jobs/{job.pk}/").content.decode()


def test_a_job_that_succeeded_cannot_be_tried_again(client: Client, job: Job, alice: User) -> None:
    end(job, "succeeded")
    client.force_login(alice)
    assert "Try again" not in client.get(f"/jobs/{job.pk}/").content.decode()
    assert client.post(f"/jobs/{job.pk}/retry/", headers=HTMX).status_code == 409
    assert Job.objects.filter(subject=job.subject).count() == 1


def test_lines_come_in_bounded_ranges(client: Client, server: Server, alice: User) -> None:
    streams.append(server.console_id, [f"line {number}" for number in range(1, 3001)])
    client.force_login(alice)
    address = f"/streams/{server.console_id}/lines/"
    answer = client.get(address, {"after": 10, "limit": 2}).json()
    assert (answer["first"], answer["last"]) == (1, 3000)
    assert [(seq, text) for seq, _, text in answer["lines"]] == [(11, "line 11"), (12, "line 12")]
    assert len(client.get(address, {"limit": 10**9}).json()["lines"]) == 1000
    assert client.get(address, {"after": "-1; DROP", "limit": "x"}).json()["lines"][0][0] == 1


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        ("SECOND", [2, 4]),
        ("100%", [3]),
        ("_", []),
        ("nothing like it", []),
        ("", []),
        ("x" * 500, []),
        ("naïve Ünï", [5]),
    ],
)
def test_a_search_finds_every_line_that_holds_the_text(
    client: Client, server: Server, alice: User, query: str, seqs: list[int]
) -> None:
    streams.append(server.console_id, ["first", "the second", "100% done", "Second again", "Naïve ünï"])
    client.force_login(alice)
    assert client.get(f"/streams/{server.console_id}/search/", {"q": query}).json() == {"seqs": seqs, "more": False}


def test_a_search_with_very_many_hits_gives_the_newest(client: Client, server: Server, alice: User) -> None:
    streams.append(server.console_id, ["again"] * 10_001)
    client.force_login(alice)
    answer = client.get(f"/streams/{server.console_id}/search/", {"q": "again"}).json()
    assert answer["more"]
    assert (answer["seqs"][0], answer["seqs"][-1], len(answer["seqs"])) == (2, 10_001, 10_000)


def test_a_search_that_takes_too_long_is_ended_and_says_so(
    client: Client, server: Server, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams.append(server.console_id, ["x" * 4000] * 20_000)
    monkeypatch.setattr(searches, "SEARCH_MS", 1)
    client.force_login(alice)
    assert client.get(f"/streams/{server.console_id}/search/", {"q": "y"}).status_code == 503


def test_the_job_page_costs_few_queries(client: Client, job: Job, alice: User) -> None:
    client.force_login(alice)
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/jobs/{job.pk}/")
    assert len(queries) <= 8
