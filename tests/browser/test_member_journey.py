"""The main job, end to end, in a real browser with a real game: from an invitation to a deleted server."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Locator, Page, expect

from jobs.models import Job
from portal import services as portal_services
from portal.models import User
from servers import seeds
from servers.models import Server
from tests.conftest import PASSWORD
from tests.gamedig import gamedig
from tests.games_cache import CACHE, installed
from tests.servers.living import portal
from tests.stack import Stack, game_port

__all__ = ["installed", "portal"]
pytestmark = [pytest.mark.browser, pytest.mark.games]
OpenPage = Callable[..., Page]
INSTALLED, STARTED = 180_000, 60_000  # milliseconds to wait at most


@pytest.fixture
def site(portal: Stack, settings, installed: Callable[[str], Path]) -> str:
    """All of the portal's processes; OpenArena is defined but not installed, its packages at hand from earlier runs."""
    installed("openarena")
    (settings.STATE_DIR / "apt").symlink_to(CACHE / "apt")
    text = Path(django_settings.BASE_DIR, "servers/games/openarena.toml").read_text()
    ours = re.sub(r"from = \d+\nto = \d+", f"from = {(port := game_port())}\nto = {port}", text)
    (settings.GAMES_DIRS[1] / "openarena.toml").write_text(ours)
    seeds.ensure_node()
    seeds.seed_blueprints()
    portal.start("cluster")
    portal.start("agent")
    return portal.start_web()


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def join_and_sign_in(page: Page, secret: str) -> None:
    page.goto(f"/invitations/{secret}/")
    page.get_by_label("Name", exact=False).first.fill("newcomer")
    for field in page.locator("input[type=password]").all():
        field.fill(PASSWORD)
    button(page, "Create account").click()
    expect(page.get_by_role("heading", name="My servers")).to_be_visible()
    page.get_by_label("Account of newcomer").click()
    button(page, "Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.locator("input[name=login]").fill("newcomer")
    page.locator("input[type=password]").fill(PASSWORD)
    button(page, "Sign in").click()
    expect(page.get_by_role("heading", name="My servers")).to_be_visible()


def create(page: Page, name: str) -> None:
    page.get_by_role("link", name="New server").first.click()
    page.get_by_role("radio", name="OpenArena").check()
    page.get_by_label("Name in the portal").fill(name)
    page.locator("summary", has_text="More settings").click()
    page.get_by_label("Bots", exact=True).fill("3")
    button(page, "Create server").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def start_and_watch(page: Page) -> None:
    """The first start installs the game: its log is watched, then the console arrives on the server's own page."""
    button(page, "Start friday-arena").click()
    page.get_by_role("link", name="Install OpenArena").first.click()
    log = page.locator("[data-log-view]")
    expect(log).to_contain_text("openarena", timeout=INSTALLED)
    expect(page.locator(".state").first).to_have_text(re.compile("succeeded", re.I), timeout=INSTALLED)
    page.go_back()
    expect(page.locator("#server-head .state")).to_have_text(re.compile("running", re.I), timeout=STARTED)
    expect(page.locator("[data-log-view]")).to_contain_text("entered the game", timeout=STARTED)


def shown_bots(page: Page) -> set[str]:
    rows = page.locator("#server-side tbody tr")
    expect(rows.locator(".tag", has_text="bot")).to_have_count(3, timeout=STARTED)
    return {re.sub(r"\s+bot$", "", name.strip()) for name in rows.locator("td:first-child").all_inner_texts()}


def is_hidden_from(user: User, site: str, server: Server) -> None:
    """Pages, parts, logs and the API say that there is no such thing."""
    client = Client()
    client.force_login(user)
    cookie = {django_settings.SESSION_COOKIE_NAME: client.cookies[django_settings.SESSION_COOKIE_NAME].value}
    job = Job.objects.about(server.topic).first()
    assert job
    with httpx.Client(base_url=site, cookies=cookie) as browser:
        assert server.name not in browser.get("/").text
        for path in (
            f"/servers/{server.name}/",
            f"/servers/{server.name}/history/",
            f"/servers/{server.name}/parts/card/",
            f"/jobs/{job.pk}/",
            f"/streams/{server.console_id}.txt",
            f"/streams/{job.stream_id}.txt",
        ):
            assert browser.get(path).status_code == 404, path


def test_a_newcomer_runs_openarena_and_nobody_else_sees_it(site: str, open_page: OpenPage, mod: User, charlie: User):
    _, secret = portal_services.create_invitation(by=mod, note="a newcomer", days=1)
    page = open_page(site)
    join_and_sign_in(page, secret)
    create(page, "friday-arena")
    start_and_watch(page)

    bots = shown_bots(page)
    facts = page.locator("#server-head .facts")
    expect(facts).to_contain_text("oa_dm1")
    server = Server.objects.get(name="friday-arena")
    seen = gamedig("openarena", "127.0.0.1", server.ports.get(name="game").number)
    assert seen["map"] == "oa_dm1"
    assert {player["name"] for player in [*seen["players"], *seen["bots"]]} == bots

    page.get_by_label("Console command").fill("status")
    button(page, "Send").click()
    expect(page.locator("[data-log-view]")).to_contain_text("> status")
    expect(page.locator("[data-log-view]")).to_contain_text("map: oa_dm1")
    is_hidden_from(charlie, site, server)

    button(page, "Stop friday-arena").click()
    expect(page.locator("#server-head .state")).to_have_text(re.compile("stopped", re.I), timeout=STARTED)

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Delete").click()
    page.locator("form input[type=text]").fill("friday-arena")
    button(page, "Delete friday-arena").click()
    expect(page.get_by_role("heading", name="My servers")).to_be_visible()
    expect(page.locator(".card")).to_have_count(0)
