"""Left 4 Dead 2 in a real browser: a member's versus night, from the blueprint to a file that is put back.

The portal, its definition of the game and gamedig are the real ones; Steam, its Workshop and srcds are stand-ins.
"""

import platform
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from portal.models import User
from servers import seeds
from servers.models import Server
from tests.browser.left4dead import club_archive, fill_workshop, offer_game
from tests.gamedig import gamedig
from tests.servers.living import portal
from tests.servers.steam import Steam
from tests.stack import Stack, wait_for

__all__ = ["portal"]
pytestmark = [pytest.mark.browser, pytest.mark.skipif(platform.machine() != "x86_64", reason="the game is for x86")]
OpenPage = Callable[..., Page]
WAIT = 60_000  # milliseconds at most, for what starts a program
NAME = "versus-night"
DISK = 12 << 30  # bytes, as the game's definition says


@pytest.fixture
def site(portal: Stack, tmp_path: Path) -> Iterator[str]:
    """All of the portal's processes; the game is defined but not installed."""
    if shutil.disk_usage(tmp_path).free < DISK:
        pytest.skip("The portal does not install the game where less than 12 GiB are free.")
    offer_game(portal, tmp_path)
    seeds.ensure_node()
    seeds.seed_blueprints()
    with Steam() as steam:
        fill_workshop(steam)
        portal.environment["LEFT4ME_STEAM_API"] = steam.url
        portal.start("cluster")
        portal.start("agent")
        yield portal.start_web()


def button(page: Page | Locator, name: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def tab(page: Page, name: str) -> None:
    page.locator("nav.tabs").get_by_role("link", name=name, exact=True).click()


def toast(page: Page, text: str) -> None:
    expect(page.locator(".toast", has_text=text)).to_be_visible()


def make_layers(page: Page, archive: Path) -> None:
    page.goto("/new-layer/?kind=workshop&game=left4dead2")
    page.get_by_label("Name").fill("Friday’s items")
    link = "https://steamcommunity.com/sharedfiles/filedetails/?id="
    page.get_by_label("Items and collections").fill(f"{link}3155010001\n3155010002")
    button(page, "Make layer").click()
    expect(page.locator(".server-head .state")).to_have_text("Ready", timeout=WAIT)
    expect(page.get_by_role("region", name="Campaigns")).to_contain_text("dl_m1_station")
    page.goto("/new-layer/?kind=archive&game=left4dead2")
    page.set_input_files("#upload-file", archive)
    expect(page.locator("#upload-status")).to_have_text("The club.zip is here.")
    button(page, "Make layer").click()
    expect(page.locator(".server-head .state")).to_have_text("Ready", timeout=WAIT)


def create(page: Page) -> None:
    page.goto("/new-server/")
    page.get_by_role("radio", name="Left 4 Dead 2 · versus").check()
    page.get_by_label("Name in the portal").fill(NAME)
    button(page, "Create server").click()
    expect(page.get_by_role("heading", name=NAME)).to_be_visible()


def stack_layers(page: Page) -> None:
    """The archive comes on top, is told to be in conflict, and is put below by keyboard."""
    tab(page, "Layers")
    for name in ("Friday’s items", "The club"):
        page.get_by_label("Layer", exact=True).select_option(label=name)
        button(page, "Put it on top").click()
        expect(page.locator("#stack .ordered li").first).to_contain_text(name)
    conflict = page.locator("section", has=page.get_by_role("heading", name="Files that several supply"))
    expect(conflict.locator("li")).to_have_count(1)
    expect(conflict).to_contain_text("left4dead2/scripts/vscripts/director_base_addon.nut")
    expect(conflict).to_contain_text(re.compile(r"2 supply it: The club \(.*club\.vpk\), Friday’s items \(.*02\.vpk\)"))
    button(page, "Up: Friday’s items").focus()
    page.keyboard.press("Enter")
    expect(conflict).to_contain_text(re.compile(r"2 supply it: Friday’s items \(.*02\.vpk\), The club \(.*club\.vpk\)"))


def start(page: Page) -> None:
    tab(page, "Overview")
    button(page, f"Start {NAME}").click()
    expect(page.locator("#server-head .state")).to_have_text("Running", timeout=2 * WAIT)
    expect(page.locator("[data-log-view]")).to_contain_text("director_base_addon.nut is taken from 3155010002.vpk")


def agrees(page: Page) -> dict[str, object]:
    """What gamedig says, once the panel says the same of map, places and players, and none is missing."""
    port = Server.objects.get(name=NAME).ports.get(name="game").number
    facts, rows = page.locator("#server-head .facts"), page.locator("#server-side tbody tr td:first-child")

    def same() -> dict[str, object] | None:
        seen = gamedig("l4d2", "127.0.0.1", port)
        shown = facts.inner_text()
        if "error" in seen:
            return None
        told = [seen["map"] in shown, f"{seen['numplayers']} / {seen['maxplayers']}" in shown]
        names = sorted(player["name"] for player in seen["players"])
        return seen if all(told) and sorted(rows.all_inner_texts()) == names else None

    return dict(wait_for(same, seconds=30, every=0.2, what="the panel and gamedig saying the same"))


def command(page: Page, text: str, answer: str) -> None:
    page.get_by_label("Console command").fill(text)
    button(page, "Send").click()
    expect(page.locator("[data-log-view]")).to_contain_text(answer)


def play(page: Page) -> None:
    """The level is changed by a button and by the console, one player is kicked and another one banned."""
    command(page, "changelevel c5m1_waterfront", 'Started map "c5m1_waterfront"')
    assert agrees(page)["map"] == "c5m1_waterfront"
    tab(page, "Players")
    expect(page.locator("#players")).to_contain_text("Game mode: Versus")
    page.get_by_label("Map", exact=True).select_option("dl_m1_station")
    button(page, "Change the map").click()
    toast(page, "The map changes to dl_m1_station.")
    button(page, "Kick n1ck").click()
    toast(page, "n1ck was kicked.")
    expect(page.locator("#players tbody tr")).to_have_count(4)
    page.get_by_role("link", name="Ban [GoD] Ellis").click()
    button(page, "Ban [GoD] Ellis").click()
    toast(page, "[GoD] Ellis is banned.")
    expect(page.locator("#players tbody tr")).to_have_count(3)
    tab(page, "Overview")
    seen = agrees(page)
    assert (seen["map"], seen["numplayers"]) == ("dl_m1_station", 3)


def row(page: Page, label: str) -> Locator:
    return page.locator("#truth tr", has=page.get_by_role("rowheader", name=label, exact=True))


def change_setting(page: Page) -> None:
    """Fewer slots from the next start, and the club's rules; what the console changed is told by the game itself."""
    tab(page, "Layers")
    button(page, "Up: The club").click()
    expect(page.locator("#stack .ordered li").first).to_contain_text("The club")
    tab(page, "Overview")
    command(page, "sv_alltalk 1", "> sv_alltalk 1")
    tab(page, "Settings")
    expect(row(page, "Game mode").locator("td")).to_have_text(["Campaign", "Versus", "Versus", "Versus", "Versus"])
    button(page, "Ask it").click()
    expect(page.locator("#asked tr.differs")).to_contain_text("sv_alltalk")
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("Player slots shown").fill("6")
    button(page, "Save settings").click()
    expect(page.locator("#truth .state")).to_have_text("1 change at the next start")
    expect(page.locator("#truth tr.differs td")).to_have_text(["8", "–", "6", "6", "8 changes"])
    tab(page, "Overview")
    assert agrees(page)["maxplayers"] == 8
    tab(page, "Settings")
    page.locator("#truth").get_by_role("button", name="Restart").click()
    expect(page.locator("#truth .state")).to_have_count(0, timeout=WAIT)
    tab(page, "Overview")
    expect(page.locator("#server-head .state")).to_have_text("Running", timeout=WAIT)
    expect(page.locator("[data-log-view]")).to_contain_text("director_base_addon.nut is taken from club.vpk")
    expect(page.locator("#server-side tbody tr")).to_have_count(4, timeout=WAIT)
    assert agrees(page)["maxplayers"] == 6


def put_back(page: Page) -> None:
    """The ban is in a file that the archive brought: what it has changed is seen, and put back by a restart."""
    tab(page, "Layers")
    page.get_by_role("link", name="What the server changed").click()
    button(page, re.compile("^Look")).click()
    expect(page.locator("#changes")).to_contain_text("The club, 27 bytes", timeout=WAIT)
    expect(page.locator("#server-head .state")).to_have_text("Running")
    page.get_by_role("link", name="banned_user.cfg").click()
    expect(page.get_by_role("heading", name="left4dead2/cfg/banned_user.cfg")).to_be_visible()
    expect(page.locator(".diff .in")).to_have_text("+banid 0 STEAM_1:0:7717031")
    button(page, "Revert left4dead2/cfg/banned_user.cfg").click()
    expect(page.locator("#changes")).to_contain_text("1 of them is reverted at the next start.")
    page.locator("#changes").get_by_role("button", name="Restart").click()
    expect(page.locator("#changes")).to_contain_text(
        "It has changed and deleted nothing that a layer has.", timeout=WAIT
    )
    tab(page, "Overview")
    expect(page.locator("#server-side tbody tr")).to_have_count(5, timeout=WAIT)
    assert agrees(page)["numplayers"] == 5


def test_a_members_versus_night(site: str, open_page: OpenPage, alice: User, tmp_path: Path) -> None:
    (tmp_path / "The club.zip").write_bytes(club_archive())
    page = open_page(site, alice)
    make_layers(page, tmp_path / "The club.zip")
    create(page)
    stack_layers(page)
    start(page)
    expect(page.locator("#server-side tbody tr")).to_have_count(5, timeout=WAIT)
    seen = agrees(page)
    assert (seen["name"], seen["map"], seen["numplayers"]) == ("left4me Left 4 Dead 2", "c1m1_hotel", 5)
    play(page)
    change_setting(page)
    put_back(page)
