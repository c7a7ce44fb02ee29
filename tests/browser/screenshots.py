"""`make screenshots`: pictures of the list and the server page for docs/, taken of a community that `scene.py` makes.

It starts a PostgreSQL and a web process of its own and leaves nothing behind.
"""

# ruff: noqa: E402 - Django is set up before anything that imports models

import os
import tempfile
from pathlib import Path

import tests.environment  # noqa: F401 - a database of its own, before Django reads its settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # playwright's loop runs in this thread

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from playwright.sync_api import Browser, sync_playwright

from portal.models import User
from servers.seeds import seed_blueprints
from tests.browser.conftest import FLAGS, chromium_path, sign_in
from tests.browser.scene import furnish
from tests.stack import Stack

FOLDER = Path(settings.BASE_DIR, "docs", "screenshots")
SCREENS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 360, "height": 740}}
PAGES = {"list": "/", "server": "/servers/friday-coop/"}


def take(browser: Browser, url: str, user: User) -> None:
    for screen, size in SCREENS.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(base_url=url, viewport=size, color_scheme=scheme, reduced_motion="reduce")
            sign_in(context, url, user)
            page = context.new_page()
            for name, path in PAGES.items():
                page.goto(path)
                page.wait_for_load_state("networkidle")
                page.screenshot(path=FOLDER / f"{name}-{screen}-{scheme}.png", full_page=screen == "desktop")
            context.close()


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("createcachetable")
    seed_blueprints()
    alice, bob = (User.objects.create_user(name) for name in ("alice", "bob"))
    furnish(alice, bob)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), DATABASE_URL=os.environ["DATABASE_URL"]) as stack,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        take(browser, stack.start_web(), alice)
        browser.close()


if __name__ == "__main__":
    main()
