"""Nothing on a page needs a reload to be true: each test changes something elsewhere and watches the page."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, TimeoutError, expect

from jobs import events, streams
from portal.models import User
from servers import services
from servers.models import Blueprint, Right, Server
from servers.services import observing
from tests.browser.conftest import hold
from tests.conftest import PASSWORD
from tests.jobs.sockets import Socket

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def test_a_member_signs_in_and_lands_where_they_were_going(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site)
    page.goto("/servers/alices-practice/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("alices-practice")


def test_a_suspended_member_is_told_why_they_cannot_sign_in(site: str, open_page: OpenPage, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(suspended_at="2026-01-01T00:00Z", suspended_reason="spam")
    page = open_page(site)
    page.goto("/")
    page.get_by_label("Username").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("suspended: spam. Ask a moderator")


def test_the_list_shows_a_server_that_starts_and_one_that_is_shared(
    site: str, open_page: OpenPage, alice: User, bob: User, server: Server, share
) -> None:
    share(bob)
    page = open_page(site, bob)
    page.goto("/")
    card = page.locator("#servers .card", has_text="alices-practice")
    expect(card.locator(".state")).to_have_text("Stopped")
    answer = {"ok": True, "map": "c1m1_hotel", "name": "x", "players": 3, "max_players": 8, "bots": 0, "list": []}
    observing.record_unit(server=server, unit="running", detail="", at=None)
    observing.record_query(server=server, query=answer, publish=True)
    expect(card.locator(".state")).to_have_text("Running")
    expect(card).to_contain_text("c1m1_hotel")
    expect(card.locator(".players-now")).to_contain_text("3/8")

    services.unshare_server(by=alice, server=server, user=bob)
    expect(page.get_by_role("heading", name="You have no server yet")).to_be_visible()
    services.share_server(by=alice, server=server, user=bob, rights=[Right.POWER])
    expect(card.locator(".state")).to_have_text("Running")
    observing.record_unit(server=server, unit="crashed", detail="It ended by itself.", at=None)
    expect(card.locator(".state")).to_have_text("Crashed")


def test_a_card_that_came_late_is_as_true_as_one_that_was_there(
    site: str, open_page: OpenPage, alice: User, bob: User, server: Server
) -> None:
    page = open_page(site, bob)
    page.goto("/")
    expect(page.get_by_role("heading", name="You have no server yet")).to_be_visible()

    def late(route: Route) -> None:
        answer = route.fetch()
        if server.name in answer.text() and "Crashed" not in answer.text():
            observing.record_unit(server=server, unit="crashed", detail="It ended by itself.", at=None)
            page.wait_for_timeout(1000)  # until the page has heard of it, with nothing to show it on
        route.fulfill(response=answer)

    page.route("**/parts/servers/**", late)
    services.share_server(by=alice, server=server, user=bob, rights=[Right.POWER])
    expect(page.locator(".card .state")).to_have_text("Crashed")


def test_a_change_is_fetched_once_and_again_only_if_more_was_told_meanwhile(
    site: str, open_page: OpenPage, alice: User, bob: User, server: Server
) -> None:
    with Socket(site, "/ws/events/", bob) as hears:  # by then the process has heard of the server just made
        events.publish(f"user:{bob.pk}")
        assert hears.receive()["topic"] == f"user:{bob.pk}"
    page = open_page(site, alice)
    page.goto("/")
    asked: list[str] = []
    page.on("request", lambda request: "/parts/" in request.url and asked.append(request.url.removeprefix(site)))
    page.wait_for_timeout(1500)  # the whole list is fetched once the connection is there
    assert len(asked) <= 1, asked
    asked.clear()
    observing.record_unit(server=server, unit="running", detail="", at=None)
    expect(page.locator(".card .state")).to_have_text("Running")
    page.wait_for_timeout(1500)
    assert set(asked) == {f"/servers/{server.name}/parts/card/"}
    assert len(asked) <= 2


@pytest.mark.parametrize("answer", [{"status": 503}, None], ids=["refused", "not reached"])
def test_a_change_that_could_not_be_fetched_is_fetched_again(
    site: str, open_page: OpenPage, alice: User, server: Server, answer: dict | None
) -> None:
    """The connection that tells of changes stays open meanwhile, and tells of each but once."""
    page = open_page(site, alice)
    page.goto("/")
    page.wait_for_load_state("networkidle")
    failed: list[str] = []

    def fail(route: Route) -> None:
        failed.append(route.request.url)
        route.fulfill(**answer) if answer else route.abort()

    page.route("**/parts/**", fail)
    observing.record_unit(server=server, unit="running", detail="", at=None)
    page.wait_for_timeout(1500)  # by now all is told that will be
    told = len(failed)
    page.unroute("**/parts/**")
    assert told
    expect(page.locator(".card .state")).to_have_text("Running")
    expect(page.locator("#connection")).to_be_hidden()


def test_what_is_pressed_stays_under_the_pointer_until_it_is_released(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    page.wait_for_load_state("networkidle")
    state, tab = page.locator("#server-head .state"), page.get_by_role("link", name="Settings", exact=True)
    box = tab.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    answer = hold(page, "**/parts/head/")
    with page.expect_request("**/parts/head/"):  # under way when the button is pressed
        observing.record_unit(server=server, unit="starting", detail="", at=None)
    page.mouse.down()
    answer()
    observing.record_unit(server=server, unit="crashed", detail="It ended by itself.", at=None)
    page.wait_for_timeout(1000)
    assert tab.bounding_box() == box
    expect(state).to_have_text("Stopped")
    page.mouse.move(5, 5)  # let go elsewhere, it is no click
    page.mouse.up()
    expect(state).to_have_text("Crashed")
    assert tab.bounding_box() != box

    tab.hover()
    page.mouse.down()
    observing.record_unit(server=server, unit="stopped", detail="", at=None)
    page.wait_for_timeout(1000)
    page.mouse.up()
    expect(page).to_have_url(re.compile("/settings/$"))


def test_a_remove_button_in_focus_never_becomes_that_of_the_next_member(
    site: str, open_page: OpenPage, alice: User, bob: User, charlie: User, server: Server, share
) -> None:
    share(bob)
    share(charlie)
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/people/")
    page.wait_for_load_state("networkidle")
    removes = page.locator("#people button")
    removes.first.focus()
    services.unshare_server(by=alice, server=server, user=bob)
    expect(removes).to_have_count(1)
    expect(removes).to_have_accessible_name("Remove charlie")
    assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_moderators_see_everybodys_servers_come_and_go(
    site: str, open_page: OpenPage, alice: User, mod: User, blueprint: Blueprint
) -> None:
    page = open_page(site, mod)
    page.goto("/?all")
    expect(page.get_by_role("heading", name="Nobody has a server yet")).to_be_visible()
    made = services.create_server(by=alice, name="brand-new", blueprint=blueprint)
    expect(page.locator(".card")).to_contain_text("alice’s server")
    services.delete_server(by=alice, server=made)
    expect(page.get_by_role("heading", name="Nobody has a server yet")).to_be_visible()


def test_picking_a_blueprint_brings_its_settings_and_names_are_judged_as_they_are_typed(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    Blueprint.objects.create(slug="arena", name="Arena", game="openarena", settings={"hostname": "Arena of ours"})
    page = open_page(site, alice)
    page.goto("/new-server/")
    page.get_by_label("Name in the portal").press_sequentially("alices-practice")
    expect(page.locator("#name-hint")).to_contain_text("is taken")
    page.get_by_label("Name in the portal").press_sequentially("-2")
    expect(page.locator("#name-hint")).to_contain_text("is free")
    page.get_by_text("Arena", exact=True).click()
    expect(page.get_by_label("Server name")).to_have_value("Arena of ours")
    assert page.get_by_label("Name in the portal").input_value() == "alices-practice-2"
    page.get_by_role("button", name="Create server").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("alices-practice-2")
    expect(page.locator("#toasts")).to_contain_text("is ready")


def test_settings_of_a_blueprint_can_be_filled_in_once_they_are_there_and_not_before(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    Blueprint.objects.create(slug="arena", name="The arena", game="openarena")
    page = open_page(site, alice)
    page.goto("/new-server/")
    more = page.locator("summary", has_text="More settings")
    answer = hold(page, "**/new-server/?*")
    page.get_by_role("radio", name="The arena").check()
    expect(page.locator("#settings-fields")).to_have_attribute("inert", "")
    with pytest.raises(TimeoutError, match="element is inert"):
        more.click(timeout=1000)
    answer()
    more.click()
    page.get_by_label("Bots", exact=True).fill("3")
    expect(page.locator("[name=settings-of]")).to_have_value("arena")
    expect(page.get_by_label("Bots", exact=True)).to_have_value("3")


def test_the_address_is_copied(site: str, open_page: OpenPage, alice: User, server: Server) -> None:
    page = open_page(site, alice, permissions=["clipboard-read", "clipboard-write"])
    page.goto("/")
    page.get_by_role("button", name="Copy the address").click()
    expect(page.locator("#toasts")).to_contain_text("Copied 127.0.0.1:27015")
    assert page.evaluate("navigator.clipboard.readText()") == "127.0.0.1:27015"
    for _ in range(3):
        page.get_by_role("button", name="Copy the address").click()
    expect(page.locator(".toast")).to_have_count(1)
    page.goto("/")  # nothing of the clipboard's is still to come
    say = "text => document.body.dispatchEvent(new CustomEvent('toast', { detail: { text, kind: 'info' } }))"
    for number in range(4):
        page.evaluate(say, f"message {number}")
    expect(page.locator(".toast p")).to_have_text(["message 1", "message 2", "message 3"])


def test_the_link_of_an_invitation_is_copied(site: str, open_page: OpenPage, mod: User) -> None:
    page = open_page(site, mod, permissions=["clipboard-read", "clipboard-write"])
    page.goto("/admin/portal/invitation/add/")
    page.get_by_role("button", name="Make an invitation").click()
    page.wait_for_load_state()  # the button is there before its script
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("It is copied.")
    assert "/invitations/" in page.evaluate("navigator.clipboard.readText()")


def test_the_admins_pages_work_under_the_content_policy(site: str, open_page: OpenPage, mod: User) -> None:
    page = open_page(site, mod)  # fails on whatever the policy blocks
    for path in ("/admin/", "/admin/servers/server/", "/admin/portal/user/"):
        assert page.goto(path).status == 200
        page.wait_for_load_state("networkidle")


def test_the_server_page_goes_when_the_right_to_see_it_goes(
    site: str, open_page: OpenPage, alice: User, bob: User, server: Server, share
) -> None:
    share(bob, Right.CONSOLE)
    page = open_page(site, bob)
    page.goto(f"/servers/{server.name}/")
    expect(page.get_by_role("heading", level=1)).to_have_text(server.name)
    services.unshare_server(by=alice, server=server, user=bob)
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")


def test_the_console_shows_lines_as_they_are_written(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    expect(page.get_by_text("The console is empty.")).to_be_visible()
    streams.append(server.console_id, ["<img src=x onerror=alert(1)>", "second"])
    log = page.locator("[data-log-view]")
    expect(log).to_contain_text("<img src=x onerror=alert(1)>")
    expect(log.locator("img")).to_have_count(0)
    streams.append(server.console_id, [f"line {number}" for number in range(200)])
    expect(log).to_contain_text("line 199")

    page.get_by_role("button", name="Pause").click()
    streams.append(server.console_id, ["while paused"])
    expect(page.get_by_role("button", name="more")).to_contain_text("1 more")
    expect(log).not_to_contain_text("while paused")
    page.get_by_role("button", name="more").click()
    expect(log).to_contain_text("while paused")


def test_what_is_being_typed_survives_a_refresh(site: str, open_page: OpenPage, alice: User, server: Server) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/settings/")
    field = page.get_by_label("Server name")
    field.fill("half a na")
    observing.record_unit(server=server, unit="running", detail="", at=None)
    expect(page.locator(".server-head .state")).to_have_text("Running")
    assert field.input_value() == "half a na"
    assert page.evaluate("document.activeElement.id") == field.get_attribute("id")


def test_a_form_that_was_begun_keeps_its_choices_until_it_is_sent(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    observing.record_unit(server=server, unit="running", detail="", at=None)
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    page.get_by_label("What", exact=True).select_option("stop")
    page.get_by_label("When").select_option(label="in 5 minutes, announced")
    page.evaluate("document.activeElement.blur()")
    answer = {"ok": True, "map": "c1m1_hotel", "name": "x", "players": 3, "max_players": 8, "bots": 0, "list": []}
    observing.record_query(server=server, query=answer, publish=True)
    expect(page.locator("#server-side")).to_contain_text("3 / 8")
    page.get_by_role("button", name="Schedule").click()
    waiting = page.get_by_role("region", name="Waiting")
    expect(waiting).to_contain_text(re.compile(r"Stop\s+at .*, announced in chat"))
    waiting.get_by_role("button", name="Call it off").click()
    expect(page.get_by_label("What", exact=True)).to_have_value("restart")


def test_the_players_page_is_whole_once_the_server_runs(
    site: str, open_page: OpenPage, alice: User, server: Server
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/players/")
    expect(page.locator("#players-tab")).to_contain_text("This page shows its players while it runs.")
    observing.record_unit(server=server, unit="running", detail="", at=None)
    expect(page.get_by_role("heading", name="On the server now")).to_be_visible()
    expect(page.get_by_role("button", name="Send the message")).to_be_visible()
