"""What somebody typed is never lost: not by a session's end, a right taken away, a refusal or a portal that is away."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, Route, expect

from portal import services as people
from portal.models import User
from servers import services
from servers.models import Blueprint, Layer, Right, Server
from tests.browser.conftest import sign_in
from tests.browser.scene import PASSWORD
from tests.browser.test_editor import editor
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
KEPT = "#kept"
NOTE = ".notice.draft"


def file_url(server: Server) -> str:
    return f"/servers/{server.name}/own-files/file/?path=server.cfg"


def type_text(page: Page, server: Server, text: str = "sv_tags typed") -> None:
    page.goto(file_url(server))
    editor(page).focus()
    page.keyboard.type(text)


def drafts(page: Page) -> list[str]:
    found: list[str] = page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft:'))")
    return found


def kept(page: Page) -> str:
    """All that the browser's storage holds."""
    text: str = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    return text


def drafted(page: Page) -> None:
    wait_for(lambda: page.wait_for_timeout(50) or drafts(page), what="a draft of what was typed")


def sign_in_by_hand(page: Page, user: User) -> None:
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    page.get_by_label("Username").fill(user.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def send_unasked(page: Page) -> None:
    """As if the answer to “may it be sent?” were from before: the very moment in between."""
    page.evaluate(
        "key => sessionStorage.setItem('sent', JSON.stringify({ key, user: document.body.dataset.user }))",
        drafts(page)[0],
    )
    page.evaluate("HTMLFormElement.prototype.submit.call(document.querySelector('main form[method=post].panel'))")


def test_an_ended_session_neither_reloads_the_page_nor_takes_what_was_typed(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    people.reset_password(by=_administrator(), user=alice)  # closes the page's socket with 4401
    expect(page.locator(KEPT)).to_contain_text("You were signed out. Sign in again in a new tab")
    expect(editor(page)).to_contain_text("sv_tags typed")
    page.get_by_role("button", name="Save").click()
    page.wait_for_timeout(500)
    expect(page).to_have_url(f"{site}{file_url(server)}")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in").click()
    sign_in_by_hand(opened.value, alice)
    expect(opened.value.get_by_role("heading", name="My servers")).to_be_visible()
    page.bring_to_front()
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator(KEPT)).to_be_hidden()
    page.get_by_role("button", name="Save").click()  # with the token of the new session
    expect(page.locator("#own-files")).to_contain_text("lines by hand")
    assert server.own_files.get().text == "sv_tags typed"
    assert drafts(page) == []


def test_a_page_that_waits_for_a_new_session_asks_seldom(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    people.reset_password(by=_administrator(), user=alice)  # closes the page's socket with 4401
    expect(page.locator(KEPT)).to_contain_text("You were signed out")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.wait_for_timeout(8000)
    assert len(asked) < 25, asked


def test_a_page_without_unsaved_input_goes_to_the_sign_in_page_as_ever(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    people.reset_password(by=_administrator(), user=alice)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_what_is_sent_after_the_session_ended_is_back_once_signed_in_again(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    page.goto("/accounts/steam-id/")  # a page without a socket
    page.get_by_label("Your Steam id").fill("76561197960287930")
    drafted(page)
    Session.objects.all().delete()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(KEPT)).to_contain_text("You were signed out")
    send_unasked(page)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "next=/accounts/steam-id/" in page.url
    sign_in_by_hand(page, alice)
    expect(page.locator(NOTE)).to_contain_text("was kept and is back. It is not saved yet.")
    expect(page.get_by_label("Your Steam id")).to_have_value("76561197960287930")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Saved.")
    alice.refresh_from_db()
    assert alice.steam_id == 76561197960287930
    assert drafts(page) == []


def test_a_draft_survives_a_closed_tab_and_can_be_discarded(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    services.write_own_file(by=alice, server=server, path="server.cfg", text="sv_tags saved", was="")
    page.goto(file_url(server))
    editor(page).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("sv_tags typed")
    drafted(page)
    again = page.context.new_page()
    page.close()
    again.goto(file_url(server))
    expect(again.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(editor(again)).to_have_text("sv_tags typed")
    again.get_by_role("button", name="Discard it").click()
    expect(editor(again)).to_have_text("sv_tags saved")
    expect(again.locator(NOTE)).to_be_hidden()
    again.reload()
    expect(editor(again)).to_have_text("sv_tags saved")
    expect(again.locator(NOTE)).to_have_count(0)


def test_a_right_that_is_taken_away_while_typing_takes_no_text_with_it(
    site: str, server: Server, alice: User, bob: User, share: Callable[..., object], open_page: OpenPage
) -> None:
    share(bob, Right.FILES, Right.SETTINGS)
    page = open_page(site, bob)
    type_text(page, server)
    services.share_server(by=alice, server=server, user=bob, rights=[Right.SETTINGS])
    expect(page.locator(KEPT)).to_contain_text("You may no longer change this")
    expect(editor(page)).to_contain_text("sv_tags typed")
    services.unshare_server(by=alice, server=server, user=bob)
    expect(page.locator(KEPT)).to_contain_text("not there any more")
    page.get_by_role("button", name="Save").click()
    page.wait_for_timeout(500)
    expect(editor(page)).to_contain_text("sv_tags typed")


def test_what_a_deleted_server_was_to_get_is_shown_by_the_page_that_refuses_it(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    drafted(page)
    services.delete_server(by=alice, server=server)
    expect(page.locator(KEPT)).to_contain_text("not there any more")
    page.evaluate("document.querySelector('form.wide').requestSubmit()")
    page.wait_for_timeout(500)
    expect(editor(page)).to_contain_text("sv_tags typed")
    send_unasked(page)
    expect(page.locator(NOTE)).to_contain_text("It was not saved, but what you typed is kept.")
    page.get_by_text("What you typed", exact=True).click()
    expect(page.locator(f"{NOTE} textarea").last).to_have_value("sv_tags typed")


def test_what_a_portal_that_is_away_did_not_take_stays(
    stack: Stack, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(stack.start_web(), alice)
    type_text(page, server)
    stack.kill("web")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(KEPT)).to_contain_text("could not be reached, so nothing was sent")
    expect(editor(page)).to_contain_text("sv_tags typed")
    stack.start_web(port=stack.port)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#own-files")).to_contain_text("lines by hand")


def test_a_press_without_a_session_or_with_an_old_token_keeps_the_command_that_was_typed(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running")
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/")
    command = page.get_by_label("Console command")
    command.fill("status")
    Session.objects.all().delete()
    page.get_by_role("button", name="Send").click()
    expect(page.locator(KEPT)).to_contain_text("You were signed out")
    sign_in(page.context, site, alice)
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator(KEPT)).to_be_hidden()
    page.context.clear_cookies(name="csrftoken")
    page.context.new_page().goto("/")  # which brings another token
    command.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("send it once more")
    expect(command).to_have_value("status")
    with page.expect_response("**/command/") as answer:
        command.press("Enter")
    assert answer.value.status == 409, "it came to the game, which is not there in truth"
    expect(command).to_have_value("status")


def test_signing_out_forgets_all_drafts_of_the_member(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    drafted(page)
    other = page.context.new_page()
    other.goto("/servers/")
    other.locator(".menu > summary").click()
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "sv_tags typed" not in kept(other)
    expect(page.locator(KEPT)).to_contain_text("You were signed out")
    page.keyboard.type(" more")
    page.wait_for_timeout(600)
    assert drafts(other) == [], "nothing is kept any more of who signed out"
    expect(editor(page)).to_contain_text("sv_tags typed more")


@pytest.mark.parametrize("is_lost", [False, True], ids=["late", "lost"])
def test_signing_out_forgets_all_drafts_also_when_the_answer_comes_late_or_never(
    site: str, server: Server, alice: User, open_page: OpenPage, is_lost: bool
) -> None:
    page = open_page(site, alice)
    type_text(page, server)
    drafted(page)
    other = page.context.new_page()
    page.close()

    def answer(route: Route) -> None:
        response = route.fetch(max_redirects=0)
        other.context.clear_cookies()  # Playwright has taken those of an answer that the browser may never see
        other.wait_for_timeout(1000)  # by then the socket has ended
        route.abort() if is_lost else route.fulfill(response=response)

    other.route("**/accounts/logout/", answer)
    other.goto("/")
    other.locator(".menu > summary").click()
    with suppress(PlaywrightError):  # of a navigation that is aborted
        other.get_by_role("button", name="Sign out").click()
    if is_lost:
        other.wait_for_url("chrome-error://**")
        other.goto("/")
    else:
        expect(other.locator("#toasts")).to_contain_text("You have signed out.")
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    wait_for(lambda: other.wait_for_timeout(50) or "sv_tags typed" not in kept(other), what="the draft to be forgotten")


def test_a_draft_stays_although_another_tab_saved_or_discarded_the_same_form(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server, "sv_tags one")
    drafted(page)
    other = page.context.new_page()
    other.goto(file_url(server))
    other.locator(NOTE).get_by_role("button", name="Discard").click()
    drafted(page)
    editor(other).focus()
    other.keyboard.type("sv_tags two")
    wait_for(lambda: page.wait_for_timeout(50) or "sv_tags two" in kept(page), what="the other's draft")
    other.get_by_role("button", name="Save").click()
    expect(other.locator("#own-files")).to_contain_text("lines by hand")
    wait_for(lambda: page.wait_for_timeout(50) or "sv_tags one" in kept(page), what="this one's draft again")
    page.close()  # as a crash would
    other.goto(file_url(server))
    expect(other.locator(NOTE)).to_contain_text("is back")
    expect(editor(other)).to_contain_text("sv_tags one")


def test_another_member_of_the_same_browser_never_sees_a_draft(
    site: str, server: Server, alice: User, bob: User, share: Callable[..., object], open_page: OpenPage
) -> None:
    share(bob, Right.FILES)
    page = open_page(site, alice)
    type_text(page, server)
    drafted(page)
    Session.objects.all().delete()
    sign_in(page.context, site, bob)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(KEPT)).to_contain_text("Somebody else is signed in here now")
    assert not server.own_files.exists()
    theirs = page.context.new_page()
    theirs.goto(file_url(server))
    expect(editor(theirs)).to_have_text("")
    expect(theirs.locator(NOTE)).to_have_count(0)
    sign_in(page.context, site, alice)
    theirs.goto(file_url(server))
    expect(editor(theirs)).to_have_text("sv_tags typed")


def test_no_password_is_ever_kept(site: str, server: Server, alice: User, open_page: OpenPage) -> None:
    page = open_page(site, alice)
    page.goto(f"/servers/{server.name}/settings/")
    page.get_by_label("Server name").fill("Kept name")
    page.get_by_text("More settings").click()
    page.get_by_label("Join password").fill("s3cret-of-the-game")
    drafted(page)
    page.goto("/accounts/password/")
    for field in page.locator("input[type=password]").all():
        field.fill("s3cret-of-alice")
    page.wait_for_timeout(600)
    page.goto(f"/servers/{server.name}/")
    page.get_by_label("Console command").fill("rcon_password s3cret-of-the-console")
    page.wait_for_timeout(600)
    assert "s3cret" not in kept(page)
    page.goto(f"/servers/{server.name}/settings/")
    expect(page.get_by_label("Server name")).to_have_value("Kept name")
    expect(page.locator(NOTE)).to_contain_text("Passwords are not kept")
    expect(page.get_by_label("Join password")).to_have_value("")


def test_what_was_refused_is_kept_until_it_is_taken(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server, "rcon_password x")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("ul.error")).to_contain_text("for the portal alone")
    page.goto(f"/servers/{server.name}/")
    page.goto(file_url(server))
    expect(page.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(editor(page)).to_have_text("rcon_password x")


def test_a_draft_that_is_put_back_on_a_newer_text_does_not_undo_that(
    site: str, server: Server, alice: User, bob: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    type_text(page, server, "sv_tags mine")
    drafted(page)
    services.write_own_file(by=bob, server=server, path="server.cfg", text="sv_tags theirs", was="")
    page.reload()
    expect(editor(page)).to_have_text("sv_tags mine")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").filter(has_text="bob saved it")).to_be_visible()
    expect(editor(page)).to_have_text("sv_tags mine")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#own-files")).to_contain_text("lines by hand")
    assert server.own_files.get().text == "sv_tags mine"


def test_choices_that_bring_other_fields_are_put_back_with_them(
    site: str, server: Server, alice: User, open_page: OpenPage
) -> None:
    page = open_page(site, alice)
    Blueprint.objects.create(slug="arena", name="Arena", game="openarena")
    page.goto("/new-server/")
    page.get_by_label("Name in the portal").fill("kept-server")
    page.get_by_role("radio", name="Arena").check()
    expect(page.locator("[name=settings-of]")).to_have_value("arena")
    page.locator("#settings-fields input[type=text]").first.fill("Kept words")
    drafted(page)
    page.wait_for_timeout(600)
    page.reload()
    expect(page.locator(NOTE)).to_be_visible()
    expect(page.get_by_label("Name in the portal")).to_have_value("kept-server")
    expect(page.locator("#settings-fields input[type=text]").first).to_have_value("Kept words")


def test_drafts_are_bounded_in_number_size_and_age(site: str, server: Server, alice: User, open_page: OpenPage) -> None:
    page = open_page(site, alice)
    page.goto("/accounts/steam-id/")
    page.evaluate(
        """user => {
          const put = (name, seconds, characters) => {
            const fields = [{ name: "x", text: "y".repeat(characters) }];
            const draft = { user, page: "/", fields, at: Date.now() - seconds * 1000 };
            localStorage.setItem(`draft:${user}:${name}`, JSON.stringify(draft));
          };
          for (let at = 1; at <= 12; at++) put(`/large${at}#0`, 100 + at, 300_000);
          for (let at = 1; at <= 30; at++) put(`/small${at}#0`, at, 1);
          put("/old#0", 8 * 86400, 1);
        }""",
        str(alice.pk),
    )
    page.get_by_label("Your Steam id").fill("1234")
    key = f"draft:{alice.pk}:/accounts/steam-id/#0"
    wait_for(lambda: page.wait_for_timeout(50) or key in drafts(page), what="the draft")
    assert len(drafts(page)) == 20
    assert f"draft:{alice.pk}:/old#0" not in drafts(page)
    page.evaluate(
        """() => Object.keys(localStorage).filter(key => key.includes("small")).forEach(key => {
          const larger = localStorage.getItem(key).replace('"y"', `"${"y".repeat(220_000)}"`);
          localStorage.setItem(key, larger);
        })"""
    )
    page.get_by_label("Your Steam id").fill("12345")
    length = "Object.keys(localStorage).reduce((sum, key) => sum + localStorage.getItem(key).length, 0)"
    wait_for(lambda: page.wait_for_timeout(50) or page.evaluate(length) < 3_001_000, what="the oldest to have gone")
    assert 10 < len(drafts(page)) < 20


def _administrator() -> User:
    return User.objects.create_user("root", is_staff=True, is_superuser=True)


def test_two_tabs_with_one_layers_file_are_shown_both_texts_and_can_take_either(
    site: str, alice: User, open_page: OpenPage
) -> None:
    path = "left4dead2/cfg/a.cfg"
    source = {"files": {path: "first"}}
    layer = Layer.objects.create(slug="mine", name="Mine", game="left4dead2", kind="files", owner=alice, source=source)
    one, url = open_page(site, alice), f"/layers/mine/file/?path={path}"
    two = one.context.new_page()
    for page, text in ((one, "of one"), (two, "of two")):
        page.goto(url)
        editor(page).focus()
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
    one.get_by_role("button", name="Save and build").click()
    expect(one).to_have_url(f"{site}/layers/mine/")
    two.get_by_role("button", name="Save and build").click()
    expect(two.get_by_role("alert").filter(has_text="Somebody saved another text")).to_be_visible()
    expect(two.locator("pre.code")).to_have_text("of one")
    expect(editor(two)).to_have_text("of two")
    two.get_by_role("link", name="Take this one").click()
    expect(editor(two)).to_have_text("of one")
    expect(two.locator(NOTE)).to_have_count(0)
    layer.refresh_from_db()
    assert layer.source["files"] == {path: "of one"}
