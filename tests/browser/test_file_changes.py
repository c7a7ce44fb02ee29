"""What a server changed, in a browser: looked for, read as a diff, reverted, all without a reload."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from portal.models import User
from servers.models import Server
from servers.runtime import get_runtime
from tests.browser.conftest import serious_problems
from tests.stack import Stack

pytestmark = pytest.mark.browser


def test_a_member_looks_reads_what_differs_and_reverts_it(
    portal: Stack, practice: Server, open_page: Callable[..., Page], alice: User
) -> None:
    own = get_runtime().upper(practice.name) / "practice"
    own.mkdir(parents=True)
    (own / "gamedata.txt").write_text("Scores that the game keeps\n")
    (own / "world.log").write_text("started\n")
    page = open_page(portal.start_web(), alice)
    portal.start("cluster")
    page.goto(f"/servers/{practice.name}/layers/")
    page.get_by_role("link", name="What the server changed").click()
    expect(page.get_by_text("Nobody has looked yet")).to_be_visible()
    page.get_by_role("button", name="Look", exact=True).click()
    changed = page.get_by_role("link", name="gamedata.txt")
    expect(changed).to_be_visible()
    assert serious_problems(page) == []
    changed.click()
    expect(page.locator(".diff .in")).to_have_text(["+Scores that the game keeps"])
    assert serious_problems(page) == []
    page.go_back()
    page.get_by_role("button", name="Revert practice/gamedata.txt").click()
    expect(page.get_by_text("It has changed and deleted nothing")).to_be_visible()
    assert not (own / "gamedata.txt").exists()
    page.get_by_role("link", name="Added 1").click()
    page.get_by_role("button", name="Delete practice/world.log").click()
    expect(page.get_by_text("It has added nothing")).to_be_visible()
    page.get_by_role("link", name="Where files come from").click()
    page.get_by_label("Path contains").fill("GAMEDATA")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".files li")).to_have_count(1)
    expect(page.locator(".files li")).to_contain_text("Practice (demonstration) 1")
    assert serious_problems(page) == []
