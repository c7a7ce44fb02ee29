"""Looking for newer versions: when it is done, what is told, and when one is installed by itself."""

import random
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers import services
from servers.models import Installation, Node, UpdateCheck
from tests.servers.living import lines_of, settled

PART = "/installations/local/openarena/part/"
HTMX = {"HX-Request": "true"}


def installed(node: Node, game: str, version: str = "1") -> Installation:
    return Installation.objects.create(node=node, game=game, version=version, state="ready", is_current=True)


def test_the_agent_asks_every_six_hours_for_games_that_come_from_outside(node: Node) -> None:
    assert services.request_due_checks(node=node) == []
    for game in ("openarena", "left4dead2", "practice", "no-longer-defined"):
        installed(node, game)
    asked = services.request_due_checks(node=node)
    assert {job.args["game"] for job in asked} == {"openarena", "left4dead2"}
    assert services.request_due_checks(node=node) == []
    UpdateCheck.objects.filter(game="openarena").update(asked_at=timezone.now() - timedelta(hours=7))
    assert [job.args["game"] for job in services.request_due_checks(node=node)] == ["openarena"]


def test_a_newer_version_is_told_and_not_installed(client: Client, mod: User, node: Node) -> None:
    installed(node, "openarena")
    client.force_login(mod)
    assert "Not looked for updates yet" in client.get(PART).content.decode()
    assert services.record_newest(node=node, game="openarena", version="1") is None
    assert "No newer version" in client.get(PART).content.decode()
    assert services.record_newest(node=node, game="openarena", version="<2>") is None
    assert "Update available:</strong> &lt;2&gt;" in client.get(PART).content.decode()
    assert not Job.objects.filter(kind="installations.install").exists()


@pytest.mark.parametrize("known", ["ready", "failed", "building"])
def test_where_it_is_ticked_it_is_installed_unless_it_was_tried_or_gone_back_from(node: Node, known: str) -> None:
    installed(node, "openarena")
    services.set_auto_update(node=node, game="openarena", on=True)
    job = services.record_newest(node=node, game="openarena", version="2")
    assert job and job.args == {"node": "local", "game": "openarena", "update": True}
    Installation.objects.create(node=node, game="openarena", version="2", state=known)
    assert services.record_newest(node=node, game="openarena", version="2") is None


def test_staff_look_and_tick_on_the_page_and_members_do_not(client: Client, alice: User, mod: User, node: Node) -> None:
    installed(node, "openarena")
    base = "/installations/local/openarena"
    client.force_login(alice)
    assert client.post(f"{base}/check/").status_code == 403
    assert client.post(f"{base}/auto-update/", {"on": "1"}).status_code == 403
    assert not UpdateCheck.objects.exists()
    client.force_login(mod)
    assert client.post(f"{base}/check/", headers=HTMX).status_code == 204
    assert Job.objects.get().kind == "installations.check"
    for on in ("1", "0"):
        assert client.post(f"{base}/auto-update/", {"on": on}, headers=HTMX).status_code == 204
        assert UpdateCheck.objects.get().auto_update is (on == "1")
        assert f'aria-pressed="{"true" if on == "1" else "false"}"' in client.get(PART).content.decode()
    assert client.post("/installations/local/nothing/auto-update/", {"on": "1"}, headers=HTMX).status_code == 409


@pytest.mark.games
def test_debian_says_what_an_installation_would_give(portal, node: Node) -> None:
    port = random.randrange(20_000, 32_000)
    text = Path("servers/games/teeworlds.toml").read_text()
    Path(portal.environment["LEFT4ME_GAMES_DIR"], "teeworlds.toml").write_text(
        text.replace("from = 8303", f"from = {port}").replace("to = 8402", f"to = {port + 99}")
    )
    portal.start("cluster")
    assert settled(services.install_game(by=None, node=node, game="teeworlds"), 120) == "succeeded"
    look = services.request_check(by=None, node=node, game="teeworlds")
    assert settled(look, 60) == "succeeded", look.error
    assert UpdateCheck.objects.get().newest == Installation.objects.get().version
    assert any("is the newest" in line for line in lines_of(look.stream_id))


def test_what_comes_with_the_portal_cannot_be_looked_for(portal, node: Node) -> None:
    portal.start("cluster")
    look = services.request_check(by=None, node=node, game="practice")
    assert settled(look, 60) == "failed"
    assert "comes with the portal" in look.error
