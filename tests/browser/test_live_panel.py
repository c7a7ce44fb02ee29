"""The live panel in a real browser, on a real game: players, messages, the map, later stops, settings, activity."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from portal.models import User
from servers import games, rcon, services
from servers.models import Blueprint, Sample, Server
from tests.browser.conftest import hold, serious_problems
from tests.gamedig import gamedig
from tests.servers.living import ready, sees, settled
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def console(server: Server, text: str) -> str:
    """What the game answers, asked past the portal; in a thread, as the browser's driver runs a loop in this one."""
    ports = {port.name: port.number for port in server.ports.all()}
    secret = Server.objects.get(pk=server.pk).secrets["rcon"]
    call = rcon.command(games.get(server.game), "127.0.0.1", ports, secret, text)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, call).result()


@pytest.fixture
def live(portal: Stack, practice: Server, alice: User) -> Server:
    """Alice's practice server, running for real with six players, who come but do not leave by themselves."""
    portal.start("cluster")
    portal.start("agent")
    Server.objects.filter(pk=practice.pk).update(settings={"simulated_players": 6})
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    ready(practice)
    console(practice, "demo_leaving 0")
    return practice


def query(server: Server) -> dict[str, object]:
    return gamedig("protocol-valve", "127.0.0.1", server.ports.get().number)


def numbered(page: Page, number: str) -> Locator:
    return page.locator("#players tbody td:first-child", has_text=re.compile(f"^{number}$"))


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_a_player_is_kicked_the_map_changed_and_all_agree(
    portal: Stack, live: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(portal.start_web(), alice)
    wait_for(lambda: Server.objects.get(pk=live.pk).facts().get("players", 0) >= 3, seconds=60, what="players")
    page.goto(f"/servers/{live.name}/")
    page.get_by_role("link", name="Kick, ban, message").click()
    row = page.locator("#players tbody tr").first
    number = row.locator("td").first.inner_text()
    row.get_by_role("button", name=re.compile("^Kick")).click()
    expect(page.locator(".toast", has_text="was kicked.")).to_be_visible()
    expect(numbered(page, number)).to_have_count(0)

    page.get_by_label("Message", exact=True).fill("Be nice")
    button(page, "Send the message").click()
    expect(page.locator(".toast", has_text="The message was sent.")).to_be_visible()
    page.get_by_label("Map", exact=True).select_option("c5m1_waterfront")
    button(page, "Change the map").click()
    expect(page.locator("#server-head .facts")).to_contain_text("c5m1_waterfront")
    assert query(live)["map"] == "c5m1_waterfront"
    assert serious_problems(page) == []

    page.goto(f"/servers/{live.name}/")
    for line in ("Console: Be nice", f"> kickid {number}"):
        expect(page.locator("[data-log-view]")).to_contain_text(line)
    page.get_by_label("What", exact=True).select_option("stop")
    page.get_by_label("When").select_option(label="in 5 minutes, announced")
    button(page, "Schedule").click()
    expect(page.locator("[data-log-view]")).to_contain_text("Console: The server stops in 5 minutes.")
    button(page, "Call it off").click()
    expect(page.locator("[data-log-view]")).to_contain_text("Console: Called off: the server goes on.")
    expect(page.get_by_role("heading", name="Stop or restart later")).to_be_visible()


def test_a_button_in_focus_never_becomes_the_button_of_somebody_else(
    portal: Stack, live: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(portal.start_web(), alice)
    wait_for(lambda: Server.objects.get(pk=live.pk).facts().get("players", 0) >= 3, seconds=60, what="players")
    page.goto(f"/servers/{live.name}/players/")
    number = page.locator("#players tbody td").first.inner_text()
    page.get_by_role("button", name=re.compile("^Kick ")).first.focus()
    console(live, f"kickid {number}")
    page.evaluate("document.getElementById('ask-again').click()")  # leaves the focus where it is
    expect(numbered(page, number)).to_have_count(0)
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_the_command_line_remembers_what_was_sent_and_keeps_what_is_typed_before_the_answer(
    portal: Stack, live: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(portal.start_web(), alice)
    page.goto(f"/servers/{live.name}/")
    line = page.get_by_label("Console command")
    line.fill("status")
    answer = hold(page, "**/command/")
    with page.expect_request("**/command/"):
        button(page, "Send").click()
    line.fill("echo next")
    answer()
    expect(page.locator("#rcon-answer")).to_contain_text("hostname")
    expect(line).to_have_value("echo next")
    for key, text in (("ArrowUp", "status"), ("ArrowUp", "status"), ("ArrowDown", "echo next")):
        line.press(key)
        expect(line).to_have_value(text)
    button(page, "Send").click()
    expect(line).to_have_value("")
    for text in ("echo next", "status"):
        line.press("ArrowUp")
        expect(line).to_have_value(text)


def test_a_setting_is_changed_followed_and_reaches_the_game_by_a_restart(
    portal: Stack, live: Server, alice: User, blueprint: Blueprint, open_page: OpenPage
) -> None:
    page = open_page(portal.start_web(), alice)
    page.goto(f"/servers/{live.name}/settings/")
    page.get_by_label("Player slots").fill("13")
    button(page, "Save settings").click()
    expect(page.locator("#truth .state")).to_have_text("1 change at the next start")
    expect(page.locator("#truth tr.differs")).to_contain_text("13")
    assert query(live)["maxplayers"] == 8
    assert serious_problems(page) == []
    page.locator("#truth").get_by_role("button", name="Restart").click()
    expect(page.locator("#truth .state")).to_have_count(0, timeout=30_000)
    wait_for(lambda: query(live).get("maxplayers") == 13, seconds=30, what="the new slots")
    sees(live, "running")
    page.reload()
    button(page, "Ask it").click()
    expect(page.locator("#asked tr", has_text="sv_visiblemaxplayers")).to_contain_text("13")
    button(page, "Follow it").click()
    expect(page.get_by_text("It follows Practice")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 360])
def test_activity_is_drawn_for_the_eye_and_told_as_a_table(
    site: str, server: Server, alice: User, open_page: OpenPage, width: int
) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    Sample.objects.bulk_create(
        Sample(
            server=server, at=now - timedelta(minutes=n), players=n % 7, map="c1m1_hotel", cpu=n % 50, memory=200 << 20
        )
        for n in range(600)
    )
    page = open_page(site, alice, viewport={"width": width, "height": 800})
    page.goto(f"/servers/{server.name}/activity/")
    expect(page.locator(".chart canvas")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(
        """() => [...document.querySelectorAll('.chart canvas')].every((one) =>
            one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((byte) => byte > 0))"""
    )
    page.locator("summary", has_text="As a table").click()
    assert page.locator("table caption + thead + tbody tr").count() in (10, 11)
    page.get_by_role("link", name="30 days").click()
    expect(page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")
    page.locator("[data-theme-toggle]").click()
    expect(page.locator(".chart canvas")).to_have_count(2)
    assert serious_problems(page) == []
