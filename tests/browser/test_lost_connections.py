"""Lost connections: a page says so, comes back by itself, and shows what it missed."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from jobs import streams
from portal.models import User
from servers.models import Server
from servers.services import observing
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def test_lost_live_updates_are_told_and_made_up_for(
    stack: Stack, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(stack.start_web(), alice)
    page.goto(f"/servers/{server.name}/")
    streams.append(server.console_id, ["before"])
    expect(page.locator("[data-log-view]")).to_contain_text("before")
    stack.kill("web")
    expect(page.locator("#connection")).to_contain_text("Reconnecting")
    streams.append(server.console_id, ["meanwhile"])
    observing.record_unit(server=server, unit="crashed", detail="It ended with exit status 1.", at=None)
    stack.start_web(port=stack.port)
    expect(page.locator("#connection")).to_be_hidden(timeout=30_000)
    expect(page.locator(".server-head .state")).to_have_text("Crashed")
    expect(page.locator("[data-log-view]")).to_contain_text("meanwhile")
    expect(page.locator(".log-row", has_text="before")).to_have_count(1)


def test_a_socket_that_falls_silent_is_opened_again_and_one_that_beats_is_kept(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site, alice)
    opened: list[WebSocketRoute] = []
    # Lets them in, and nobody is at the other end.
    page.route_web_socket("**/ws/**", lambda socket: opened.append(socket))
    page.clock.install()
    page.goto(f"/servers/{server.name}/")
    page.wait_for_function("document.querySelector('[data-log-view]')")
    wait_for(lambda: page.wait_for_timeout(50) or len(opened) == 2, what="the page's two sockets")
    events, log = sorted(opened, key=lambda socket: socket.url)
    assert events.url.endswith("/ws/events/?beat=1")
    for _ in range(4):
        page.clock.fast_forward(20_000)
        log.send('{"type":"beat"}')
        page.wait_for_timeout(100)
    wait_for(lambda: page.wait_for_timeout(50) or len(opened) >= 3, what="the silent socket opened again")
    assert {socket.url for socket in opened[2:]} == {events.url}


def test_a_part_whose_answer_never_comes_is_given_up_after_a_while_and_fetched_again(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    expect(page.locator("#connection")).to_be_hidden()
    page.wait_for_load_state("networkidle")  # what opening the page fetches has come
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)  # and never answer it

    page.route(f"**/servers/{server.name}/parts/head/", hold_the_first)
    observing.record_unit(server=server, unit="crashed", detail="It ended with exit status 1.", at=None)
    wait_for(lambda: page.wait_for_timeout(50) or held, what="the fetch that is held back")
    expect(page.locator(".server-head .state")).to_have_text("Crashed", timeout=60_000)


def test_an_answer_to_a_press_ends_the_wait_for_the_connection(
    stack: Stack, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(stack.start_web(), alice)
    page.clock.install()
    page.goto(f"/servers/{server.name}/")
    stack.kill("web")
    expect(page.locator("#connection")).to_be_visible()
    page.clock.pause_at(page.evaluate("Date.now() + 100"))  # from here on no attempt is made by the clock
    stack.start_web(port=stack.port)
    page.get_by_role("button", name=f"Start {server.name}", exact=True).click()
    expect(page.locator("#connection")).to_be_hidden()


def test_a_refused_socket_says_why_and_is_not_asked_for_in_a_hurry(
    stack: Stack, open_page: OpenPage, alice: User, server: Server
) -> None:
    stack.environment["LEFT4ME_SOCKETS_PER_USER"] = "1"
    page = open_page(stack.start_web(), alice)
    asked: list[str] = []
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(f"/servers/{server.name}/")
    told = page.get_by_text("Too many logs are open at once").or_(page.get_by_text("Live updates are not available"))
    expect(told.first).to_be_visible()
    page.wait_for_timeout(6000)
    assert 3 <= len(asked) <= 8, "two sockets, one of them refused and asked for again ever more slowly"
