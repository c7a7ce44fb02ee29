"""Layers in a browser: an add-on uploaded over a lost connection; a stack ordered by drag and by keyboard."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from playwright.sync_api import Page, Route, expect

from jobs import events
from portal.models import User
from servers.models import Layer, Node, Server, Upload
from tests.browser.conftest import serious_problems
from tests.browser.scene import make_stack
from tests.servers.addons import campaign
from tests.servers.test_full_disk import filled, small_disk
from tests.stack import Stack

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


@pytest.fixture
def layered(transactional_db: None, alice: User) -> Server:
    return make_stack(alice)


def order(page: Page) -> list[str]:
    return page.locator("#stack .ordered li a").all_inner_texts()


def test_an_add_on_is_uploaded_over_a_lost_connection_and_becomes_a_layer(
    portal: Stack, open_page: OpenPage, alice: User, tmp_path: Path
) -> None:
    data = campaign("deadline", "Dead Line", "dl_m1", scripts__a_nut=os.urandom(20 << 20))
    (tmp_path / "Dead Line.vpk").write_bytes(data)
    page = open_page(portal.start_web(), alice)
    portal.start("cluster")
    failures = [0]

    def lose_some(route: Route) -> None:
        failures[0] += 1
        if failures[0] == 2:
            route.abort()
        else:
            route.continue_()

    page.route("**/uploads/*/?offset=*", lose_some)
    page.goto("/new-layer/?game=left4dead2")
    page.set_input_files("#upload-file", tmp_path / "Dead Line.vpk")
    expect(page.locator("#upload-status")).to_have_text("Dead Line.vpk is here.", timeout=60_000)
    assert failures[0] == 4, "three pieces, of which one was sent again"
    assert page.input_value("#id_name") == "Dead Line"
    page.get_by_role("button", name="Make layer").click()
    expect(page.locator(".server-head .state")).to_have_text("Ready", timeout=60_000)
    expect(page.locator("main")).to_contain_text("Dead Line")
    expect(page.locator("main")).to_contain_text("dl_m1")
    assert not Upload.objects.exists()


def test_an_upload_says_that_the_disk_is_full_and_goes_on_once_there_is_room(
    portal: Stack, open_page: OpenPage, alice: User, node: Node, tmp_path: Path
) -> None:
    (tmp_path / "Large.zip").write_bytes(os.urandom(10 << 20))
    page = open_page(portal.start_web(), alice)
    page.goto("/new-layer/?game=left4dead2")
    status = page.locator("#upload-status")
    with small_disk(django_settings.STATE_DIR, "20m") as disk:
        (disk / "uploads").mkdir()
        with filled(disk):
            page.set_input_files("#upload-file", tmp_path / "Large.zip")
            expect(status).to_contain_text("The disk is full. Nothing that was there is lost")
        page.set_input_files("#upload-file", tmp_path / "Large.zip")
        expect(status).to_have_text("Large.zip is here.", timeout=60_000)
        # Whatever ends the connection: a disk that the node calls nearly full is named, not the connection.
        Node.objects.update(agent_info={"disk_free": 1})
        page.route("**/uploads/", lambda route: route.abort())
        page.evaluate("localStorage.clear()")
        (tmp_path / "Other.zip").write_bytes(b"x")
        page.set_input_files("#upload-file", tmp_path / "Other.zip")
        expect(status).to_contain_text("The disk is full. Delete what is not needed")
        portal.stop("web")


def test_an_upload_waits_as_long_as_a_busy_portal_says_and_goes_on(
    site: str, open_page: OpenPage, alice: User, tmp_path: Path
) -> None:
    (tmp_path / "Large.zip").write_bytes(os.urandom(9 << 20))
    page = open_page(site, alice)
    asked: list[str] = []

    def be_busy(route: Route) -> None:
        """Seven times for whatever is asked, which is more than a lost connection is tried."""
        what = f"{route.request.method} {route.request.url}"
        asked.append(what)
        if asked.count(what) > 7:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "0.01"}, body="Too much is under way.")

    page.route("**/uploads/**", be_busy)
    page.goto("/new-layer/?kind=archive")
    page.set_input_files("#upload-file", tmp_path / "Large.zip")
    expect(page.locator("#upload-status")).to_have_text("Large.zip is here.", timeout=60_000)
    assert len(asked) == 4 * 8, "it is begun, sent in two pieces and finished, each once"
    assert Upload.objects.get().sha256


def test_a_refused_upload_says_why_also_when_the_layer_is_made_all_the_same(
    site: str, open_page: OpenPage, alice: User, tmp_path: Path
) -> None:
    alice.disk_quota_mib = 1
    alice.save(update_fields=["disk_quota_mib"])
    (tmp_path / "Large.zip").write_bytes(bytes(2 << 20))
    page = open_page(site, alice)
    page.goto("/new-layer/?kind=archive")
    page.get_by_label("Name").fill("Large")
    page.set_input_files("#upload-file", tmp_path / "Large.zip")
    why = "of 1.0 MB of disk, and this needs 2.0 MB"
    expect(page.locator("#upload-status")).to_contain_text(why)
    page.get_by_role("button", name="Make layer").click()
    expect(page.locator("#toasts")).to_contain_text(why)
    expect(page.locator("#upload-status")).to_contain_text(why)
    expect(page.get_by_label("Name")).to_have_value("Large")


def test_an_upload_that_was_not_finished_goes_on_also_after_signing_in_again(
    site: str, open_page: OpenPage, alice: User, tmp_path: Path
) -> None:
    (tmp_path / "a.vpk").write_bytes(b"x" * 100)
    page = open_page(site, alice)
    page.goto("/new-layer/?kind=archive")
    begun, status = re.compile("/uploads/[^/]+/$"), page.locator("#upload-status")
    # The finish breaks, then the question where to go on; the third time all is well.
    for method, code, said in (("POST", 500, "(500)"), ("GET", 401, "You were signed out."), ("", 0, "a.vpk is here.")):

        def fail(route: Route, *, method: str = method, code: int = code) -> None:
            route.fulfill(status=code) if route.request.method == method else route.continue_()

        page.unroute(begun)
        page.route(begun, fail)
        page.set_input_files("#upload-file", tmp_path / "a.vpk")
        expect(status).to_contain_text(said)
    assert Upload.objects.get().sha256


def test_a_stack_is_ordered_by_drag_and_by_keyboard_and_tells_of_conflicts(
    site: str, layered: Server, open_page: OpenPage, alice: User
) -> None:
    page = open_page(site, alice)
    page.goto("/servers/layered/layers/")
    assert order(page) == ["Three", "Two", "One"]
    expect(page.locator("#stack")).to_contain_text("2 supply it: Two, One. The upper one wins.")
    page.locator(f"#up-{Layer.objects.get(name='One').pk}").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stack")).to_contain_text("2 supply it: One, Two. The upper one wins.")
    assert order(page) == ["Three", "One", "Two"]
    entries = page.locator("#stack .ordered li")
    entries.nth(0).locator(".grip").hover()
    page.mouse.down()
    events.publish(layered.topic)
    page.wait_for_timeout(1000)  # told when the grip is held and nothing has moved yet
    entries.nth(1).hover()
    entries.nth(2).hover()
    with page.expect_response("**/move/"):
        page.mouse.up()
    page.reload()
    assert order(page)[0] == "One"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_pages_of_layers_are_open_to_everybody(
    site: str, layered: Server, open_page: OpenPage, alice: User, scheme: str, width: int
) -> None:
    page = open_page(site, alice, color_scheme=scheme, viewport={"width": width, "height": 800})
    pages = ["/layers/", "/layers/one/", "/layers/one/file/", "/servers/layered/layers/"]
    for path in [*pages, *(f"/new-layer/?kind={kind}" for kind in ("archive", "workshop", "files"))]:
        page.goto(path)
        assert serious_problems(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
