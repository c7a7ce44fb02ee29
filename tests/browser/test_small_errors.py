"""Small things that hid their cause: a slow clock, a time without its day, a refused upload, a game that is silent."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, Route, expect

from jobs.models import Job
from portal.models import User
from servers.models import Pending, Server
from tests.browser.conftest import hold
from tests.browser.scene import make_job
from tests.stack import game_port, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_reader_whose_clock_is_wrong_sees_right_times(
    site: str, server: Server, alice: User, open_page: OpenPage, hours: int
) -> None:
    make_job(server, "Start", Job.State.SUCCEEDED, minutes=10, by=alice)
    page = open_page(site, alice)
    page.clock.install(time=timezone.now() + timedelta(hours=hours))
    page.goto(f"/servers/{server.name}/history/")
    expect(page.locator("time[data-as=ago]").first).to_have_text("10 min. ago")


def test_a_time_of_another_day_has_its_date(site: str, server: Server, alice: User, open_page: OpenPage) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", desired="run")
    at = timezone.now() + timedelta(hours=25)
    Pending.objects.create(server=server, by=alice, verb="stop", expires_at=at)
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    expect(page.locator("time[data-as=clock]")).to_contain_text(str(at.year))


@pytest.mark.parametrize(
    ("status", "said"),
    [(507, "The portal's disk is full."), (413, "does not take pieces"), (401, "You were signed out."), (500, "(500)")],
)
def test_an_upload_says_why_it_was_not_taken(
    site: str, alice: User, open_page: OpenPage, status: int, said: str
) -> None:
    page = open_page(site, alice)
    page.goto("/new-layer/?kind=archive")
    page.route("**/uploads/**", lambda route: route.fulfill(status=status, body="<html>", content_type="text/html"))
    page.set_input_files("#upload-file", {"name": "a.vpk", "mimeType": "x/y", "buffer": b"x" * 100})
    expect(page.locator("#upload-status")).to_contain_text(said)


def test_a_command_that_is_sent_by_a_double_press_is_sent_once_and_nobody_is_asked_for_one(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", desired="run")
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    line, send = page.get_by_label("Console command"), page.get_by_role("button", name="Send")
    held: list[Route] = []
    page.route("**/command/", lambda route: held.append(route))
    line.fill("status")
    send.dblclick()
    wait_for(lambda: page.wait_for_timeout(50) or held, what="the command")
    line.press("Enter")
    held[0].fulfill(body="<p>It is on.</p>")
    expect(line).to_have_value("")
    send.click()
    line.press("Enter")
    page.wait_for_timeout(500)
    expect(page.locator("#toasts .toast")).to_have_count(0)
    assert len(held) == 1
    line.fill(" ")
    send.click()
    expect(page.locator("#toasts")).to_contain_text("Type a command first.")
    assert len(held) == 1


def test_the_players_page_is_there_before_the_game_answers(
    site: str, sends: None, server: Server, alice: User, open_page: OpenPage
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", desired="run", secrets={"rcon": "x" * 16})
    server.ports.update(number=game_port())  # where nobody listens, as a game of another test may
    page = open_page(site, alice)
    go_on = hold(page, "**/parts/players/")
    page.goto(f"/servers/{server.name}/players/")
    expect(page.locator("#players")).to_contain_text("Asking the game…")
    expect(page.get_by_role("heading", name="Say to everybody")).to_be_visible()
    go_on()
    expect(page.locator("#players")).to_contain_text("cannot be reached")
