"""The page about installations: what it says, what its buttons do, and who may see and press them."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers import services
from servers.models import Installation, Node, Server
from tests.api import Api

PAGE, PART = "/installations/", "/installations/local/practice/part/"
MOST_QUERIES = 8
HTMX = {"HX-Request": "true"}


@pytest.fixture
def made(node: Node) -> list[Installation]:
    """Two versions of the practice game, of which the newer one is current."""
    return [
        Installation.objects.create(
            node=node, game="practice", version=f"<b>{number}</b>", state="ready", is_current=number == 2,
            size_bytes=5_000_000,
        )
        for number in (1, 2)
    ]  # fmt: skip


def buttons(made: list[Installation]) -> list[str]:
    base = "/installations/local/practice"
    return [f"{base}/install/", f"{base}/clean-up/", f"/installations/{made[0].pk}/promote/"]


def test_it_shows_every_game_with_its_versions_and_who_stands_on_which(
    client: Client, mod: User, made: list[Installation], server: Server
) -> None:
    Server.objects.update(installation=made[0])
    client.force_login(mod)
    for path in (PAGE, PART):
        shown = client.get(path).content.decode()
        for text in ("&lt;b&gt;1&lt;/b&gt;", ">Current<", "4.8\xa0MB", "alices-practice</a>", "Roll back</button>"):
            assert text in shown, text
        assert f'data-topic="installation:local:practice {server.topic}"' in shown
    assert "OpenArena" in client.get(PAGE).content.decode()
    assert "Installations</a>" in client.get("/").content.decode()


@pytest.mark.parametrize("count", [1, 30])
def test_it_costs_as_many_queries_for_one_version_as_for_thirty(
    client: Client, mod: User, node: Node, server: Server, count: int
) -> None:
    for number in range(count):
        Installation.objects.create(node=node, game="practice", version=str(number), state="ready")
    Server.objects.update(installation=Installation.objects.first())
    client.force_login(mod)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(PAGE).content.decode().count("Promote</button>") == count
    assert len(queries) <= MOST_QUERIES


def test_a_job_under_way_is_shown_with_its_progress_and_nothing_is_asked_for_twice(
    client: Client, mod: User, made: list[Installation]
) -> None:
    client.force_login(mod)
    answer = client.post(buttons(made)[0], headers=HTMX)
    assert answer.status_code == 204
    job = Job.objects.get()
    assert (job.kind, job.args) == ("installations.install", {"node": "local", "game": "practice", "update": True})
    Job.objects.update(state="running", started_at=timezone.now(), progress=42)
    shown = client.get(PART).content.decode()
    assert 'value="42"' in shown
    assert f'href="/jobs/{job.pk}/"' in shown
    assert 'type="button" aria-disabled="true"' in shown


def test_a_failed_version_says_why(client: Client, mod: User, node: Node) -> None:
    Installation.objects.create(node=node, game="practice", version="3", state="failed", detail="No <map> was found.")
    client.force_login(mod)
    assert "No &lt;map&gt; was found." in client.get(PART).content.decode()


def test_promote_and_roll_back_switch_the_current_version(client: Client, mod: User, made: list[Installation]) -> None:
    client.force_login(mod)
    for version in made:
        assert client.post(f"/installations/{version.pk}/promote/", headers=HTMX).status_code == 204
        assert Installation.objects.get(is_current=True) == version
    Installation.objects.filter(pk=made[0].pk).update(state="failed")
    assert client.post(f"/installations/{made[0].pk}/promote/", headers=HTMX).status_code == 409


def test_clean_up_asks_for_a_job(client: Client, mod: User, made: list[Installation]) -> None:
    client.force_login(mod)
    assert client.post(buttons(made)[1]).status_code == 302
    assert Job.objects.get().kind == "installations.clean_up"


def test_an_unknown_game_is_refused_with_a_sentence(client: Client, mod: User, node: Node) -> None:
    client.force_login(mod)
    answer = client.post("/installations/local/nothing/install/", headers=HTMX)
    assert answer.status_code == 409
    assert "No game is called" in answer.headers["HX-Trigger"]
    assert client.get("/installations/local/nothing/part/").status_code == 404
    assert client.get("/installations/nowhere/practice/part/").status_code == 404


def test_members_and_strangers_and_the_suspended_get_nowhere(
    client: Client, alice: User, mod: User, made: list[Installation]
) -> None:
    def tried(refused: Callable[[int], bool]) -> None:
        assert all(refused(client.get(path).status_code) for path in (PAGE, PART))
        assert all(refused(client.post(path).status_code) for path in buttons(made))

    tried(lambda code: code == 302)
    client.force_login(alice)
    tried(lambda code: code == 403)
    assert "Installations</a>" not in client.get("/").content.decode()
    client.force_login(mod)
    assert all(client.get(path).status_code == 405 for path in buttons(made))
    User.objects.filter(pk=mod.pk).update(suspended_at=timezone.now())
    tried(lambda code: code == 302)
    assert not Job.objects.exists()
    assert Installation.objects.get(is_current=True) == made[1]


def test_a_member_reads_the_version_and_that_a_newer_one_comes_with_the_next_start(
    client: Client, alice: User, made: list[Installation], server: Server
) -> None:
    client.force_login(alice)
    page = f"/servers/{server.name}/"
    note = "A newer version is used at the next start"
    assert note not in client.get(page).content.decode()
    Server.objects.update(installation=made[1])
    shown = client.get(page).content.decode()
    assert "&lt;b&gt;2&lt;/b&gt;" in shown
    assert note not in shown
    Server.objects.update(installation=made[0])
    assert note in client.get(page).content.decode()
    services.promote_version(by=alice, installation=made[0])
    assert note not in client.get(page).content.decode()


def test_the_api_lists_installations_for_staff(
    alice: User, mod: User, made: list[Installation], server: Server
) -> None:
    assert Api(alice)("get", "/installations").status_code == 403
    Server.objects.update(installation=made[1])
    asks = Api(mod)
    first, second = asks("get", "/installations").json()["items"]
    assert (first["version"], first["is_current"], first["servers"]) == (made[1].version, True, ["alices-practice"])
    assert (second["node"], second["game"], second["state"]) == ("local", "practice", "ready")
    page = asks("get", "/installations?limit=1").json()
    rest = asks("get", f"/installations?cursor={page['next']}").json()
    assert [one["version"] for one in rest["items"]] == [made[0].version]
