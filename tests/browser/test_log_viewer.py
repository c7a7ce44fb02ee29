"""A log of 200,000 lines: opened at once, scrolled smoothly, searched whole, copied as it reads."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import Page, Route, expect

from jobs import streams
from jobs.models import Stream
from portal.models import User
from servers.models import Server
from tests.browser.longlog import LINES, SCROLL, fill

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> int:
    return getattr(request, "param", LINES)


@pytest.fixture
def page(site: str, open_page: OpenPage, alice: User, server: Server, lines: int) -> Page:
    fill(server.console_id, lines)
    page = open_page(site, alice, permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"/servers/{server.name}/")
    expect(page.locator("[data-log-view]")).to_contain_text(f"{lines - 1:06d} player")
    return page


def test_it_is_scrolled_smoothly_and_searched_whole(page: Page, server: Server) -> None:
    log = page.locator("[data-log-view]")
    assert log.evaluate("view => view.scrollHeight") >= LINES * 20
    assert page.locator(".log-row").count() < 150
    page.evaluate("document.querySelector('[data-log-view]').scrollTop = 0")
    expect(log).to_contain_text("000000 player0")
    frames = sorted(page.evaluate(SCROLL, [600, 240]))
    median, worst = frames[len(frames) // 2], frames[int(len(frames) * 0.95)]
    print(f"scroll: median frame {median:.1f} ms, 95 % within {worst:.1f} ms")
    assert median < 34, "a generous bound: half of 60 frames a second while other tests run"
    assert page.locator(".log-row").count() < 150

    query = page.get_by_label("Search all of this log")
    query.fill("123456 PLAYER")
    expect(page.locator("[data-log-found]")).to_have_text("1 of 1")
    expect(page.locator(".log-row.current mark")).to_have_text("123456 player")
    query.fill("player3")
    expect(page.locator("[data-log-found]")).to_contain_text("of 10,000+")
    streams.append(server.console_id, ["player3 again"])
    expect(page.locator("[data-log-found]")).to_contain_text("of 10,001+")


def test_a_reader_is_not_moved_by_new_lines_and_comes_back_to_the_end(page: Page, server: Server) -> None:
    log = page.locator("[data-log-view]")
    page.evaluate("document.querySelector('[data-log-view]').scrollTop = 400000")
    expect(log).to_contain_text("020000 player")
    streams.append(server.console_id, ["new one"])
    expect(page.locator("[data-log-end]")).to_contain_text("more")
    assert log.evaluate("view => view.scrollTop") == 400_000
    page.locator("[data-log-end]").click()
    expect(log).to_contain_text("new one")
    expect(page.locator("[data-log-end]")).to_be_hidden()


@pytest.mark.parametrize("lines", [20_000], indirect=True)
def test_a_search_that_fails_late_does_not_hide_the_newer_one(page: Page) -> None:
    held: list[Route] = []
    page.route("**/search/?q=000", lambda route: held.append(route), times=1)
    query, found = page.get_by_label("Search all of this log"), page.locator("[data-log-found]")
    query.fill("000")
    expect(found).to_have_text("Searching…")
    with page.expect_response("**/search/?q=000123"):
        query.fill("000123")
    expect(found).to_have_text("1 of 1")
    with page.expect_response("**/search/?q=000"):
        held.pop().fulfill(status=503, json={"problem": "The search took too long. Try again."})
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 50))")  # the page had its turn after the answer
    assert found.text_content() == "1 of 1"


@pytest.mark.parametrize("lines", [20_000], indirect=True)
def test_a_search_that_fails_says_why_and_is_made_again_by_enter(page: Page) -> None:
    problem = "Too many members are searching just now. Try again in a moment."
    page.route("**/search/?*", lambda route: route.fulfill(status=503, json={"problem": problem}), times=1)
    query, found = page.get_by_label("Search all of this log"), page.locator("[data-log-found]")
    query.fill("000123")
    expect(found).to_have_text(problem)
    query.press("Enter")
    expect(found).to_have_text("1 of 1")
    assert query.input_value() == "000123"


@pytest.mark.parametrize("lines", [20_000], indirect=True)
def test_the_keyboard_scrolls_it_and_a_selection_is_copied_whole(page: Page) -> None:
    log = page.locator("[data-log-view]")
    log.focus()
    page.keyboard.press("Home")
    expect(log).to_contain_text("000000 player")
    page.evaluate(
        """() => {
          const rows = [...document.querySelectorAll(".log-row")];
          const row = (text) => rows.find((one) => one.textContent.startsWith(text));
          const [first, last] = [row("000001").firstChild, row("000003").firstChild];
          document.getSelection().setBaseAndExtent(first, 7, last, 6);
        }"""
    )
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "player1 said hello\n000002 player2 said hello\n000003"


@pytest.mark.parametrize("lines", [20_000], indirect=True)
def test_long_lines_wrap_and_the_place_is_kept(page: Page, server: Server) -> None:
    log = page.locator("[data-log-view]")
    streams.append(server.console_id, ["long " + "x" * 3000 + " tail", "after the long one"])
    expect(log).to_contain_text("after the long one")
    page.get_by_role("button", name="Wrap long lines").click()
    long_row = page.locator(".log-row", has_text="long xxx")
    expect(long_row).to_be_attached()
    assert long_row.evaluate("row => row.offsetHeight") > 100
    log.scroll_into_view_if_needed()
    expect(page.locator(".log-row", has_text="after the long one")).to_be_in_viewport()
    tops = page.evaluate(
        "() => [...document.querySelectorAll('.log-row')].map(r => [r.getBoundingClientRect().top, r.offsetHeight])"
    )
    for (top, height), (following, _) in pairwise(tops):
        assert abs(top + height - following) < 1.5, "rows neither overlap nor leave holes"


def test_lines_that_retention_took_are_told_and_the_rest_keeps_its_place(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    fill(server.console_id, 20_000)
    Stream.objects.filter(pk=server.console_id).update(keep=5_000)
    while streams.trim():
        pass
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    log = page.locator("[data-log-view]")
    expect(log).to_contain_text("019999 player")
    log.focus()
    page.keyboard.press("Home")
    expect(log).to_contain_text("15,000 earlier lines are no longer kept")
    expect(log).to_contain_text("015000 player")
