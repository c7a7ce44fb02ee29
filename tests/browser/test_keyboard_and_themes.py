"""Pages for everybody: by keyboard alone, in both themes, on a phone, and without what axe-core calls serious."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from portal.models import User
from servers.models import Server
from servers.seeds import seed_blueprints
from tests.browser.conftest import serious_problems
from tests.browser.scene import furnish, make_job, make_stack
from tests.stack import Stack

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]

SCREENS = [("light", 1280), ("dark", 1280), ("dark", 360), ("light", 360)]
PUBLIC = ["/accounts/login/", "/invitations/not-one/"]
MEMBERS = [
    "/", "/new-server/", "/servers/friday-coop/", "/servers/friday-coop/settings/", "/servers/friday-coop/people/",
    "/servers/friday-coop/history/", "/servers/friday-coop/delete/", "/servers/broken-mutation/",
    "/servers/openarena-ffa/", "/servers/practice/", "/accounts/tokens/", "/accounts/password/", "/accounts/logout/",
    "/servers/not-there/", "/servers/friday-coop/players/", "/servers/friday-coop/activity/",
    "/layers/", "/new-layer/", "/layers/one/", "/servers/layered/layers/", "/servers/layered/files/",
    "/servers/layered/own-files/", "/servers/layered/own-files/file/", "/servers/layered/changes/",
    "/servers/layered/settings/files/",
]  # fmt: skip
MODERATORS = ["/installations/", "/blueprints/layered/layers/"]


def test_a_server_is_started_and_stopped_by_keyboard_alone(
    portal: Stack, practice: Server, open_page: OpenPage, alice: User
) -> None:
    url = portal.start_web()
    portal.start("cluster")
    portal.start("agent")
    page = open_page(url, alice)
    page.goto(f"/servers/{practice.name}/")
    tab_to(page, "Start alices-practice")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("alices-practice is starting.")
    expect(page.locator(".server-head .state")).to_have_text("Running", timeout=40_000)
    expect(page.locator("[data-log-view]")).to_contain_text("Connection to Steam servers is simulated")
    tab_to(page, "Stop alices-practice")
    page.keyboard.press("Space")
    expect(page.locator(".server-head .state")).to_have_text("Stopped", timeout=40_000)
    assert page.evaluate("document.activeElement.textContent") == "Start", "the focus stays on the button as it changes"


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the control of that name has the focus."""
    for _ in range(60):
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_on_a_phone_every_link_with_the_focus_and_the_tab_one_is_on_are_seen_whole(
    site: str, open_page: OpenPage, mod: User, server: Server
) -> None:
    page = open_page(site, mod, viewport={"width": 360, "height": 740})
    page.goto(f"/servers/{server.name}/history/")
    outside = "e => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth"
    expect(page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=1)
    for link in page.locator(".site-nav a, .tabs a").all():
        link.focus()
        assert not link.evaluate(outside), link.inner_text()


def test_a_chosen_theme_is_remembered(site: str, open_page: OpenPage, alice: User) -> None:
    page = open_page(site, alice, color_scheme="light")
    page.goto("/")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    assert page.evaluate(background) == dark
    expect(page.get_by_role("button", name="Dark theme")).to_have_attribute("aria-pressed", "true")


def test_no_page_has_a_serious_barrier_or_scrolls_sideways(
    site: str, open_page: OpenPage, alice: User, bob: User, mod: User
) -> None:
    seed_blueprints()
    main = furnish(alice, bob)
    make_stack(alice)
    job = make_job(main, "Stop", "failed", minutes=1, by=alice, error="The game did not stop within 15 s. Try again.")
    found = {}
    for user, paths in ((None, PUBLIC), (alice, [*MEMBERS, f"/jobs/{job.pk}/"]), (mod, MODERATORS)):
        page = open_page(site, user)
        for path in paths:
            answer = page.goto(path)
            assert answer
            assert answer.ok or "/not-" in path, f"{path}: {answer.status}"
            page.wait_for_load_state("networkidle")
            for scheme, width in SCREENS:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 800})
                problems = serious_problems(page)
                if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                    problems.append(f"{wide} pixels wide")
                if problems:
                    found[path, scheme, width] = problems
    assert found == {}
