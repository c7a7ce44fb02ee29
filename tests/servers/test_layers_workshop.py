"""Layers from the Steam Workshop, against a stand-in that speaks its two endpoints and fails in its ways."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job, Stream
from jobs.registry import JobError
from jobs.run import Cancelled, Ending, Run
from portal.models import User
from servers import games, services
from servers.layers import fetching, workshop
from servers.layers.build import build
from servers.models import Blueprint, Layer, Node
from tests.servers.addons import campaign
from tests.servers.steam import Steam

DETAILS = "/ISteamRemoteStorage/GetPublishedFileDetails/v1/"


@pytest.fixture
def steam(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steam]:
    settings.STATE_DIR = tmp_path / "state"
    monkeypatch.setattr(fetching, "WAIT", 0.01)
    with Steam() as made:
        settings.STEAM_API = made.url
        yield made


@pytest.fixture
def run(db: None) -> Run:
    return Run(Job.objects.create(kind="x", subject="x", title="x", node="x", stream=Stream.objects.create()).pk)


@pytest.fixture
def fetch(run: Run, tmp_path: Path):
    """`fetch("1", "2")` fetches these into a folder; returns the items and what the log says."""

    def call(*ids: str) -> tuple[list[dict[str, str]], str]:
        into = tmp_path / f"into-{len(list(tmp_path.iterdir()))}"
        into.mkdir()
        items = workshop.fetch(run, list(ids), games.get("left4dead2"), into)
        assert sorted(path.stem for path in into.iterdir()) == sorted(item["id"] for item in items)
        return items, log(run)

    return call


def log(run: Run) -> str:
    return "\n".join(text for _, text in run.buffer)


def cached() -> list[str]:
    return sorted(path.name for path in workshop.cache_folder().iterdir())


def test_items_and_nested_collections_with_cycles_come_once_each(steam: Steam, fetch) -> None:
    for number in "1234":
        steam.item(number, f"Campaign {number}")
    steam.collections = {"100": [("1", 0), ("200", 2), ("2", 0)], "200": [("100", 2), ("3", 0), ("1", 0), ("200", 2)]}
    items, _ = fetch("4", "100")
    assert [item["id"] for item in items] == ["4", "1", "2", "3"]
    assert items[0]["title"] == "Campaign 4"
    assert steam.asked["/file/1"] == 1


def test_what_is_in_the_cache_is_not_downloaded_again_until_it_is_updated(steam: Steam, fetch) -> None:
    steam.item("1", "One")
    fetch("1")
    fetch("1")
    assert steam.asked["/file/1"] == 1
    steam.item("1", "One", b"newer", time_updated=1_700_000_000)
    fetch("1")
    assert steam.asked["/file/1"] == 2
    assert cached() == ["1-1600000000.vpk", "1-1700000000.vpk"]


def test_items_that_cannot_be_downloaded_are_left_out_and_named(steam: Steam, fetch) -> None:
    steam.item("1", "Fine")
    steam.item("2", "Only for players <b>", file_url="")
    items, said = fetch("1", "2", "3")
    assert [item["id"] for item in items] == ["1"]
    assert "Left out: “Only for players <b>” (2) has no file" in said
    assert "Left out: Item 3 is not there" in said
    with pytest.raises(JobError, match="None of these"):
        fetch("2")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"consumer_app_id": 730}, "“Evil” \\(1\\) is for another game than Left 4 Dead 2"),
        ({"file_size": 10}, "“Evil” \\(1\\) is larger than the 10 bytes"),
        ({"file_size": 10_000_000}, "could not be had"),
        ({"file_size": 5 << 30}, "larger than 4 GB"),
        ({"file_size": "many"}, "did not say how large"),
        ({"file_url": "file:///etc/passwd"}, "not on the web"),
        ({"file_url": "http://127.0.0.1:1/x"}, "could not be had"),
    ],
)
def test_an_item_that_is_not_what_it_says_fails_by_name_and_leaves_nothing(
    steam: Steam, fetch, values, sentence: str
) -> None:
    steam.item("1", "Evil", **values)
    with pytest.raises(JobError, match=sentence):
        fetch("1")
    assert not workshop.cache_folder().is_dir() or cached() == []


@pytest.mark.parametrize("failures", [[500], [503, 429], ["cut"], ["cut", 502, "cut"]])
def test_what_fails_in_passing_is_tried_again(steam: Steam, fetch, failures) -> None:
    steam.item("1", "One")
    steam.failures["/file/1"] = list(failures)
    fetch("1")
    assert steam.asked["/file/1"] == len(failures) + 1


@pytest.mark.parametrize("failure", [404, "loop", "away", 500])
def test_what_fails_for_good_is_told_and_not_tried_for_ever(steam: Steam, fetch, failure) -> None:
    steam.item("1", "One")
    steam.failures["/file/1"] = [failure] * 50
    with pytest.raises(JobError, match=r"“One” \(1\) .* Try again later"):
        fetch("1")
    assert steam.asked["/file/1"] <= fetching.ATTEMPTS
    assert cached() == []


@pytest.mark.parametrize("failure", ["html", 403, 500])
def test_a_workshop_that_is_down_is_told(steam: Steam, fetch, failure) -> None:
    steam.item("1", "One")
    steam.failures[DETAILS] = [failure] * 10
    with pytest.raises(JobError, match=r"The Steam Workshop .* Try again later"):
        fetch("1")


def test_many_items_are_asked_for_in_batches_and_downloaded_a_few_at_a_time(steam: Steam, fetch) -> None:
    for number in range(1, 251):
        steam.item(str(number), f"Item {number}")
    steam.collections = {"1000": [(str(number), 0) for number in range(1, 251)]}
    items, _ = fetch("1000")
    assert len(items) == 250
    assert steam.asked[DETAILS] == 3
    assert steam.most_at_once <= workshop.AT_ONCE


def test_a_cancelled_download_stops_and_leaves_nothing_half_made(steam: Steam, fetch, run: Run) -> None:
    steam.item("1", "Large", b"x" * 2_000_000)
    workshop.cache_folder().mkdir(parents=True)
    run.stop = Ending(Job.State.CANCELLED)
    with pytest.raises(Cancelled):
        workshop._download_all(
            run, [workshop.Item("1", "x", f"{steam.url}/file/1", 2_000_000, 1)], workshop.cache_folder()
        )
    assert not [name for name in cached() if name.startswith(".")]


def test_a_workshop_layer_is_made_on_the_page_and_refreshed_daily(
    steam: Steam, run: Run, client: Client, alice: User
) -> None:
    steam.item("1", "Dead Line")
    client.force_login(alice)
    link = "https://steamcommunity.com/sharedfiles/filedetails/?id=1&searchtext="
    form = {"name": "Maps", "game": "left4dead2", "visibility": "private", "ids": f"{link}\n\n 2 \n"}
    assert client.post("/new-layer/?kind=workshop", form | {"ids": "1\nnonsense"}).status_code == 422
    client.post("/new-layer/?kind=workshop", form)
    layer = Layer.objects.get()
    assert layer.source == {"ids": ["1", "2"]}
    build(run, layer, "")
    layer.refresh_from_db()
    assert list(layer.build.files.filter(addon="").values_list("path", flat=True)) == ["left4dead2/addons/1.vpk"]
    assert layer.build.maps == ["m1"]
    assert "Dead Line" in client.get("/layers/maps/").content.decode()
    assert services.request_refreshes() == []
    Layer.objects.update(refreshed_at=timezone.now() - timedelta(hours=25))
    assert [job.subject for job in services.request_refreshes()] == [layer.topic]
    assert services.request_refreshes() == []
    build(run, layer, "")
    assert layer.builds.count() == 1, "nothing changed, so it is the same build"


def test_a_game_without_workshop_takes_no_such_layer(steam: Steam, run: Run, alice: User) -> None:
    layer = Layer.objects.create(slug="a", name="A", game="openarena", kind="workshop", owner=alice)
    with pytest.raises(JobError, match="takes no add-ons from the Steam Workshop"):
        build(run, layer, "")


def test_pages_of_300_items_cost_few_queries(steam: Steam, run: Run, client: Client, alice: User, node: Node) -> None:
    for number in range(1, 301):
        steam.item(str(number), f"Item {number}", campaign(f"c{number}", f"Item {number}", f"m{number}", shared=b"x"))
    steam.collections = {"1000": [(str(number), 0) for number in range(1, 301)]}
    layer = Layer.objects.create(
        slug="all", name="All", game="left4dead2", kind="workshop", owner=alice, source={"ids": ["1000"]}
    )
    build(run, layer, "")
    blueprint = Blueprint.objects.create(slug="coop", name="Co-op", game="left4dead2")
    server = services.create_server(by=alice, name="coop", blueprint=blueprint)
    services.add_to_stack(by=alice, holder=server, layer=layer)
    client.force_login(alice)
    for path in ("/layers/", "/layers/all/", "/servers/coop/layers/", "/servers/coop/"):
        assert client.get(path).status_code == 200  # what a stack's builds do to each other is computed once
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        assert len(queries) <= 12, [query["sql"] for query in queries]
    shown = client.get("/servers/coop/layers/").content.decode()
    assert "300 supply it" in shown
    assert shown.count("<td>Item ") == 300
