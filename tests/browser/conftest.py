"""Debian's chromium, driven by playwright against the real web process."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from portal.models import User
from tests.jobs.conftest import web
from tests.servers.living import portal, practice, sends
from tests.stack import nobody_asks, wait_for

__all__ = ["portal", "practice", "sends", "web"]

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
expect.set_options(timeout=15_000)


def chromium_path() -> str:
    return shutil.which("chromium") or shutil.which("chromium-browser") or ""


@pytest.fixture(autouse=True)
def fast_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed as in life. Playwright's loop runs in this thread, which the ORM must not mind."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not chromium_path():
        missing = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site(transactional_db: None, web: str) -> Iterator[str]:
    """The URL of a web process alone, shared by a module: what others would do is written to the database.

    What its pages asked for last is over before the tables are emptied, or the two could wait for each other.
    """
    yield web
    wait_for(nobody_asks, what="the end of the last requests")


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """`open_page(url, user)` gives a page of a browser of its own, signed in, that fails the test on script errors."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(url: str, user: User | None = None, **options: Any) -> Page:
        context = chromium.new_context(base_url=url, **options)
        contexts.append(context)
        if user:
            sign_in(context, url, user)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        return page

    yield make
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # else one still answering fails the next test
        context.close()
    assert errors == []


def sign_in(context: BrowserContext, url: str, user: User) -> None:
    """A session as signing in makes it, without the page."""
    client = Client()
    client.force_login(user)
    name = django_settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


def hold(page: Page, pattern: str) -> Callable[[], None]:
    """Keep the next request to `pattern` waiting until what this gives is called: a line as slow as the test needs."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route), times=1)
    return lambda: held.pop().continue_()


def serious_problems(page: Page) -> list[str]:
    """What axe-core finds on the page that keeps somebody from using it, each with where."""
    if not page.evaluate("() => 'axe' in window"):
        # Through the debugging protocol: the page's own policy forbids added scripts, as it should.
        page.evaluate(AXE.read_text())
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("tags => axe.run({ runOnly: tags })", tags)["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
