"""A member writes lines by hand after those of the settings, is told what does not fit, and the game has the rest."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from portal.models import User
from servers import services
from servers.models import Server
from tests.browser.conftest import serious_problems
from tests.browser.test_editor import editor
from tests.gamedig import gamedig
from tests.servers.living import ready
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def test_what_is_typed_by_hand_is_what_the_game_has(
    portal: Stack, practice: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(portal.start_web(), alice)
    portal.start("cluster")
    portal.start("agent")
    page.goto(f"/servers/{practice.name}/settings/")
    page.get_by_role("link", name="Edit them by hand").click()
    page.get_by_role("link", name="server.cfg").click()
    expect(page.locator("pre")).to_contain_text('rcon_password "•••"')
    text = editor(page)
    text.focus()
    page.keyboard.type("sv_tags grüße\nrcon_password x\ndemo_players 2")
    problem = page.locator(".editor + .error")
    expect(problem).to_have_text(
        "Line 1, column 11: “ü” is not plain ASCII, which is all that a .cfg may hold. 2 more after it."
    )
    expect(page.locator(".cm-lint-marker-error")).to_have_count(2)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("ul.error li").nth(2)).to_contain_text(
        "Line 2, column 1: rcon_password is for the portal alone"
    )
    text = editor(page)
    expect(text).to_be_focused()
    expect(problem).to_be_hidden()
    expect(text).to_contain_text("sv_tags grüße")
    page.keyboard.press("Control+a")
    page.keyboard.type("sv_tags by,hand\ndemo_players 2")
    expect(problem).to_be_hidden()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#own-files")).to_contain_text("From the settings, then lines by hand")

    page.locator("#server-head").get_by_role("button", name="Start").click()
    ready(practice)
    page.goto(f"/servers/{practice.name}/settings/")
    row = page.locator("#truth tr", has=page.get_by_role("rowheader", name="Tags"))
    expect(row).to_contain_text("set by hand in server.cfg")
    page.get_by_role("button", name="Ask it").click()
    expect(page.locator("#asked tr", has_text="sv_tags")).to_contain_text("by,hand")
    expect(page.locator("#asked tr", has_text="demo_players").locator("td").first).to_have_text("2")
    expect(page.locator("#asked")).not_to_contain_text("changed since")

    services.write_own_file(by=alice, server=practice, path="server.cfg", text="sv_tags later", was=None)
    expect(row).to_contain_text("changes")
    page.goto(f"/servers/{practice.name}/own-files/")
    expect(page.locator("#own-files")).to_contain_text("from the next start")
    page.locator("#own-files").get_by_role("button", name="Restart").click()
    expect(page.locator("#own-files")).not_to_contain_text("from the next start", timeout=30_000)
    expect(page.locator("#server-head .state")).to_have_text("Running", timeout=30_000)

    port = practice.ports.get().number
    wait_for(lambda: "map" in gamedig("protocol-valve", "127.0.0.1", port), seconds=30, what="the new game answering")

    def offers_to_ask() -> bool:
        page.goto(f"/servers/{practice.name}/settings/")
        return page.get_by_role("button", name="Ask it").is_visible()

    wait_for(offers_to_ask, seconds=30, what="the agent to have seen it run")
    page.get_by_role("button", name="Ask it").click()
    expect(page.locator("#asked tr", has_text="sv_tags")).to_contain_text("later")


def test_two_editors_of_one_file_are_shown_both_texts(
    site: str, server: Server, alice: User, bob: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/own-files/file/?path=motd.txt")
    page.get_by_label("File").fill("motd.txt")
    editor(page).focus()
    page.keyboard.type("Alice was here")
    services.write_own_file(by=bob, server=server, path="motd.txt", text="Bob was here", was="")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("bob saved it since you opened it")
    expect(page.locator("pre")).to_have_text("Bob was here")
    expect(editor(page)).to_contain_text("Alice was here")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#own-files")).to_contain_text("All by hand")
    assert server.own_files.get().text == "Alice was here"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360), ("dark", 1280), ("light", 360)])
def test_their_pages_are_open_to_everybody(
    site: str, server: Server, alice: User, open_page: OpenPage, scheme: str, width: int
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", secrets={"rcon": "0123456789"})
    for path, text in (("server.cfg", 'sv_tags x // mine\nhostname "By hand"\n'), ("cfg/a-rather-long-name.cfg", "")):
        services.write_own_file(by=alice, server=server, path=path, text=text, was="")
    page = open_page(site, alice, color_scheme=scheme, viewport={"width": width, "height": 800})
    base = f"/servers/{server.name}"
    pages = ["own-files/", "own-files/file/", "own-files/file/?path=server.cfg", "settings/", "settings/files/"]
    for path in pages:
        page.goto(f"{base}/{path}")
        if "/file/" in path:
            editor(page)
        assert serious_problems(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
