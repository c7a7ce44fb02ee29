"""What somebody typed comes back: after a suspension, after “back”, and after answers that are failures."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from portal import services as people
from portal.models import User
from servers import services
from servers.models import Server
from tests.browser.test_editor import editor
from tests.browser.test_unsaved_text import KEPT, NOTE, drafted, drafts, file_url, sign_in_by_hand, type_text

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
FAILURES = {
    "too much": (413, "text/plain; charset=utf-8", "That is more than may be sent here.\n"),
    "broken": (500, "text/html", "<main><h1>x</h1><p>It is not your fault. Try again in a moment.</p></main>"),
    "away": (503, "text/html", "<main><h1>x</h1><p>The portal cannot reach its database just now.</p></main>"),
    "dropped": (0, "", ""),
}


def fail(page: Page, pattern: str, failure: str) -> None:
    """Answer the next thing that is posted there so."""
    status, kind, body = FAILURES[failure]

    def answer(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
        elif status:
            route.fulfill(status=status, content_type=kind, body=body)
        else:
            route.abort("connectionreset")

    page.route(pattern, answer)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def saved(page: Page) -> None:
    expect(page.locator("#own-files")).to_contain_text("lines by hand")


def test_a_member_who_is_suspended_while_typing_has_the_text_back_once_reinstated(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    root = User.objects.create_superuser("root")
    page = open_page(site, alice)
    type_text(page, server)
    drafted(page)
    people.suspend_user(by=root, user=alice, reason="Spam")
    expect(page.locator(KEPT)).to_contain_text("You were signed out")
    expect(editor(page)).to_contain_text("sv_tags typed")
    page.keyboard.type(" on")
    save(page)
    page.wait_for_timeout(500)
    expect(page).to_have_url(f"{site}{file_url(server)}")
    expect(editor(page)).to_contain_text("sv_tags typed on")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in").click()
    other = opened.value
    sign_in_by_hand(other, alice)
    expect(other.get_by_role("alert")).to_contain_text("Your account is suspended: Spam")
    page.close()
    people.reinstate_user(by=root, user=alice)
    alice.refresh_from_db()
    sign_in_by_hand(other, alice)
    other.goto(file_url(server))
    expect(other.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(editor(other)).to_have_text("sv_tags typed on")
    save(other)
    saved(other)
    assert server.own_files.get().text == "sv_tags typed on"
    assert drafts(other) == []


def test_back_after_saving_shows_what_is_there_now_and_saves_nothing_over_it(
    site: str, server: Server, alice: User, bob: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server, "sv_tags mine")
    save(page)
    saved(page)
    mine = server.own_files.get()
    services.write_own_file(by=bob, server=server, path="server.cfg", text="sv_tags theirs", was=mine.version)
    page.go_back()
    expect(editor(page)).to_have_text("sv_tags theirs")
    expect(page.locator(NOTE)).to_have_count(0)
    save(page)
    saved(page)
    assert server.own_files.get().text == "sv_tags theirs"


def test_back_to_settings_does_not_bring_former_values_back(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/settings/")
    page.get_by_label("Player slots").fill("4")
    page.get_by_role("button", name="Save settings").click()
    expect(page.locator("#toasts")).to_contain_text("The settings are saved.")
    services.change_settings(by=alice, server=server, changes={"max_players": 6})
    page.go_back()
    expect(page.get_by_label("Player slots")).to_have_value("6")
    page.get_by_label("Server name").fill("House")
    page.get_by_role("button", name="Save settings").click()
    expect(page.locator("#toasts")).to_contain_text("The settings are saved.")
    server.refresh_from_db()
    assert server.settings == {"max_players": 6, "hostname": "House"}


def test_back_after_leaving_brings_the_draft_which_does_not_undo_what_came_meanwhile(
    site: str, server: Server, alice: User, bob: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server, "sv_tags mine")
    drafted(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="My servers").first.click()
    expect(page.get_by_role("heading", name="My servers")).to_be_visible()
    services.write_own_file(by=bob, server=server, path="server.cfg", text="sv_tags theirs", was="")
    page.go_back()
    expect(page.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(editor(page)).to_have_text("sv_tags mine")
    save(page)
    expect(page.get_by_role("alert").filter(has_text="bob saved it")).to_be_visible()
    assert server.own_files.get().text == "sv_tags theirs"
    expect(editor(page)).to_have_text("sv_tags mine")


@pytest.mark.parametrize("failure", FAILURES)
def test_a_text_whose_saving_failed_is_back_and_can_be_saved_again(
    site: str, server: Server, alice: User, open_page: OpenPage, failure: str
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    fail(page, "**/own-files/file/**", failure)
    save(page)
    expect(page.locator("form")).to_have_count(0)  # the failure has come
    page.unroute_all()
    page.goto(f"/servers/{server.name}/")
    expect(page.locator(NOTE)).to_contain_text("It was not saved, but what you typed is kept.")
    page.get_by_role("link", name="Back to it").click()
    expect(page.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(editor(page)).to_have_text("sv_tags typed")
    save(page)
    saved(page)
    assert drafts(page) == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("too much", "That is more than may be sent here."),
        ("broken", "It is not your fault."),
        ("away", "The portal cannot reach its database"),
        ("dropped", "The connection to the portal broke. Look whether it was done, or try again."),
    ],
)
def test_a_press_that_failed_says_so_and_keeps_what_was_typed(
    site: str, server: Server, alice: User, open_page: OpenPage, failure: str, said: str
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running", desired="run", secrets={"rcon": "x" * 16})
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/players/")
    message = page.get_by_role("textbox", name="Message")
    message.fill("Hello all")
    drafted(page)
    fail(page, "**/say/", failure)
    page.get_by_role("button", name="Send the message").click()
    expect(page.locator("#toasts")).to_contain_text(said)
    expect(message).to_have_value("Hello all")
    assert drafts(page)
    page.unroute_all()
    page.goto(f"/servers/{server.name}/players/")
    expect(page.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(message).to_have_value("Hello all")
    page.route("**/say/", lambda route: route.fulfill(status=204))  # as if the game took it
    page.get_by_role("button", name="Send the message").click()
    expect(message).to_have_value("")
    assert drafts(page) == []
