"""Samples and what is made of them: one a minute by the agent, bounded in number and age, few rows a page."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.models import User
from servers import activity, services
from servers.agent.sampling import Sampling
from servers.models import Node, Right, Sample, Server
from servers.runtime import get_runtime
from servers.runtime.results import UNKNOWN, unit_usage
from servers.services import samples as sample_services
from tests.servers.living import sees, settled
from tests.stack import wait_for

BURN = "while :; do :; done & while :; do sleep 1; done"


def minute(ago: timedelta = timedelta()):  # type: ignore[no-untyped-def]
    return (timezone.now() - ago).replace(second=0, microsecond=0)


def sample(server: Server, ago: timedelta, **values: object) -> Sample:
    return Sample.objects.create(server=server, at=minute(ago), **values)


def test_each_running_server_is_noted_once_a_minute(server: Server, node: Node) -> None:
    facts = {"ok": True, "players": 3, "map": "c1m1_hotel"}
    Server.objects.filter(pk=server.pk).update(unit="running", query=facts)
    agent = Sampling(node)
    before = minute()
    agent.step()
    agent.step()
    assert Sample.objects.count() <= 1 + (minute() != before)
    noted = Sample.objects.latest("at")
    assert (noted.players, noted.map, noted.cpu, noted.memory) == (3, "c1m1_hotel", None, None)
    Server.objects.update(unit="stopped")
    Sample.objects.all().delete()
    agent.step()
    assert not Sample.objects.exists()


def test_a_silent_game_is_noted_without_players(server: Server, node: Node) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", query={"ok": False})
    Sampling(node).step()
    assert (Sample.objects.get().players, Sample.objects.get().map) == (None, "")


def test_noting_takes_as_many_queries_for_one_server_as_for_many(
    server: Server, node: Node, django_assert_max_num_queries
) -> None:
    from jobs.models import Stream

    for number in range(30):
        Server.objects.create(
            name=f"s{number}", owner=server.owner, node=node, game="practice", unit="running",
            console=Stream.objects.create(),
        )  # fmt: skip
    agent = Sampling(node)
    with django_assert_max_num_queries(6):
        agent.step()
    assert Sample.objects.count() == 30


def test_what_is_older_than_30_days_goes_a_part_at_a_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_services, "AT_ONCE", 3)
    for number in range(5):
        sample(server, timedelta(days=31, minutes=number))
    kept = sample(server, timedelta(days=29))
    assert [services.clear_samples() for _ in range(3)] == [3, 2, 0]
    assert Sample.objects.get() == kept


def test_a_span_has_the_most_players_the_commonest_map_and_the_mean_load(server: Server) -> None:
    base = timezone.now().replace(minute=2, second=0, microsecond=0) - timedelta(hours=3)
    for number, (players, level, cpu) in enumerate([(1, "a", 10.0), (7, "b", 30.0), (None, "b", None)]):
        Sample.objects.create(
            server=server, at=base + timedelta(minutes=number), players=players, map=level, cpu=cpu, memory=number
        )
    [span] = activity.spans(server, activity.RANGES["24h"], timedelta(hours=1))
    assert (span.players, span.map, span.cpu, span.memory) == (7, "b", 20.0, 2)
    assert span.at == base.replace(minute=0)


@pytest.mark.parametrize("key", activity.RANGES)
def test_a_month_of_samples_is_a_few_hundred_points(server: Server, key: str) -> None:
    chosen = activity.RANGES[key]
    Sample.objects.bulk_create(
        Sample(server=server, at=minute(timedelta(minutes=number)), players=number % 9, map="m", cpu=5, memory=1 << 30)
        for number in range(0, 30 * 24 * 60, 5)
    )
    points = activity.points(server, chosen)
    assert 280 < len(points) < 370
    assert len({point.at for point in points}) == len(points)
    assert sum(point.players is None for point in points) <= 2
    assert len(activity.spans(server, chosen, chosen.row)) <= 31


def test_the_page_has_a_table_and_the_data_of_the_chart(client: Client, server: Server, alice: User) -> None:
    client.force_login(alice)
    url = f"/servers/{server.name}/activity/"
    assert "It did not run in these 24 hours." in client.get(url).content.decode()
    sample(server, timedelta(minutes=20), players=4, map="<b>", cpu=12.5, memory=300 << 20)
    page = client.get(url).content.decode()
    assert "As a table" in page
    assert "&lt;b&gt;" in page
    assert "300.0" in page
    data = client.get(f"{url}data/", {"range": "7d"}).json()
    assert len(data["at"]) == len(data["players"]) == len(data["cpu"]) == len(data["memory"]) == len(data["map"])
    assert max(filter(None, data["players"])) == 4
    assert client.get(f"{url}data/", {"range": "nonsense"}).status_code == 200


@pytest.mark.parametrize("path", ["activity/", "activity/data/"])
def test_activity_is_for_who_may_see_the_server(
    client: Client, server: Server, bob: User, charlie: User, share, path: str
) -> None:
    url = f"/servers/{server.name}/{path}"
    assert client.get(url).status_code in (302, 401)
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    share(bob, Right.VIEW)
    client.force_login(bob)
    assert client.get(url).status_code == 200


def test_a_games_processes_are_measured_and_nobody_elses(host) -> None:  # type: ignore[no-untyped-def]
    host.runtime.start(host.spec(f"#!/bin/sh\n{BURN}\n"))
    host.runtime.start(host.spec(name="two"))
    used = wait_for(
        lambda: (used := host.runtime.usage(["one", "two", "never"]))["one"].cpu_seconds > 0.5 and used,
        seconds=60,
        what="the busy game's processor time",
    )
    assert set(used) == {"one", "two"}
    assert used["two"].cpu_seconds < used["one"].cpu_seconds
    assert all(0 < one.memory < 64 << 20 for one in used.values())
    host.runtime.stop("one")
    assert "one" not in host.runtime.usage(["one"])


def test_a_unit_without_accounting_is_not_guessed_at() -> None:
    assert unit_usage({"MemoryCurrent": UNKNOWN, "CPUUsageNSec": 5}) is None
    assert unit_usage({}) is None
    used = unit_usage({"MemoryCurrent": 1 << 20, "CPUUsageNSec": 2_500_000_000})
    assert used and (used.memory, used.cpu_seconds) == (1 << 20, 2.5)


def test_a_real_server_is_noted_with_its_load(portal, practice, alice, node) -> None:  # type: ignore[no-untyped-def]
    portal.start("cluster")
    portal.start("agent")
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    sees(practice, "running")
    wait_for(lambda: Server.objects.get(pk=practice.pk).facts(), what="query facts")
    Sample.objects.all().delete()  # the agent may have noted this minute already, before the game had answered
    Sampling(node).step()
    noted = Sample.objects.filter(server=practice).latest("at")
    assert noted.map == "c1m1_hotel"
    assert 4 << 20 < noted.memory < 400 << 20
    assert get_runtime().usage([practice.name])[practice.name].cpu_seconds > 0
