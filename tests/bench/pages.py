"""What the browser makes of a console of 200,000 lines: how long until its end is seen, and each frame of a scroll."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure, percentile
from tests.bench.scale import scaled

FRAMES = scaled(600, 20)
FRAME = 1000 / 60  # milliseconds at 60 frames a second


def figures() -> Iterator[Figure]:
    from tests.browser.conftest import chromium_path

    if not chromium_path():
        yield Figure.not_measured("pages", "chromium is missing: apt-get install chromium")
        return
    yield from _of_a_long_log()


def _of_a_long_log() -> Iterator[Figure]:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from playwright.sync_api import expect, sync_playwright

    from jobs.models import Stream
    from servers import seeds
    from servers.models import Server
    from tests.browser.conftest import FLAGS, chromium_path, sign_in
    from tests.browser.longlog import LINES, SCROLL, fill
    from tests.stack import Stack

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # playwright's loop runs in this thread: the ORM must not mind
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    owner = get_user_model().objects.create_user("reader")
    Server.objects.create(
        name="long-log",
        owner=owner,
        node=seeds.ensure_node(),
        game="practice",
        console=(console := Stream.objects.create()),
    )
    fill(console.pk, lines := scaled(LINES, 20_000))
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack, sync_playwright() as playwright:
        url = stack.start_web()
        with playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS) as browser:
            context = browser.new_context(base_url=url)
            sign_in(context, url, owner)
            page = context.new_page()
            began = time.perf_counter()
            page.goto("/servers/long-log/")
            expect(page.locator("[data-log-view]")).to_contain_text(f"{lines - 1:06d} player", timeout=30_000)
            yield Figure(f"pages.log_{lines}_lines.opened", 1000 * (time.perf_counter() - began), "ms", 2000)
            page.evaluate("document.querySelector('[data-log-view]').scrollTop = 0")
            frames = page.evaluate(SCROLL, [600, FRAMES])
    yield Figure(f"pages.log_{lines}_lines.scroll_frame.p50", percentile(frames, 50), "ms", FRAME * 1.05)
    yield Figure(f"pages.log_{lines}_lines.scroll_frame.p95", percentile(frames, 95), "ms", FRAME * 2.05)
