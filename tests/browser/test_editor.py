"""The editor that takes a textarea's place: its marks, its keys, its look, and what the form sends."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from portal.models import User
from servers.models import Layer
from tests.browser.conftest import serious_problems

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]
PATH = "left4dead2/cfg/a.cfg"
URL = f"/layers/mine/file/?path={PATH}"


@pytest.fixture
def layer(transactional_db: None, alice: User) -> Layer:
    source = {"files": {PATH: "sv_tags x // a comment\n"}}
    return Layer.objects.create(slug="mine", name="Mine", game="left4dead2", kind="files", owner=alice, source=source)


def editor(page: Page) -> Locator:
    """Its text, once it is there."""
    found = page.locator(".editor[data-ready] .cm-content")
    expect(found).to_be_visible()
    return found


def test_what_is_no_plain_ascii_is_marked_with_line_and_column_and_told_again_when_it_is_saved(
    site: str, layer: Layer, open_page: OpenPage, alice: User
) -> None:
    page = open_page(site, alice)
    page.goto(URL)
    text = editor(page)
    expect(text).to_have_accessible_name("Content")
    page.get_by_text("Content", exact=True).click()
    expect(text).to_be_focused()
    page.keyboard.press("Control+End")
    page.keyboard.type("hostname 🎉ü")
    sentence = "Line 2, column 10: “🎉” is not plain ASCII, which is all that a .cfg may hold."
    expect(page.locator(".editor + .error")).to_have_text(f"{sentence} 1 more after it.")
    expect(page.locator(".cm-lintRange-error")).to_have_count(2)
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    page.locator(".cm-lint-marker-error").hover()
    expect(page.locator(".cm-tooltip-lint")).to_contain_text("Line 2, column 11: “ü”")
    page.get_by_role("button", name="Save and build").click()
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(editor(page)).to_contain_text("hostname 🎉ü")
    editor(page).focus()
    page.keyboard.press("Control+End")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("house")
    page.keyboard.press("Control+a")
    page.keyboard.type("sv_tags x // a comment\nhostname house")  # over coloured text, which is where styles come from
    expect(page.locator(".editor + .error")).to_be_hidden()
    page.get_by_role("button", name="Save and build").click()
    expect(page).to_have_url(f"{site}/layers/mine/")
    layer.refresh_from_db()
    assert layer.source["files"][PATH] == "sv_tags x // a comment\nhostname house"


def test_other_files_have_other_rules(site: str, layer: Layer, open_page: OpenPage, alice: User) -> None:
    page = open_page(site, alice)
    page.goto("/layers/mine/file/")
    page.get_by_label("File").fill("motd.txt")
    editor(page).focus()
    page.keyboard.type("Grüße")
    page.wait_for_timeout(600)
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)
    page.get_by_label("File").fill("motd.cfg")
    expect(page.locator(".cm-lintRange-error")).to_have_count(2)


def test_the_keyboard_gets_in_and_out(site: str, layer: Layer, open_page: OpenPage, alice: User) -> None:
    page = open_page(site, alice)
    page.goto(URL)
    save = page.get_by_role("button", name="Save and build")
    editor(page)
    page.get_by_label("File").focus()
    page.keyboard.press("Tab")
    expect(editor(page)).to_be_focused()
    page.keyboard.press("Tab")
    expect(save).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("a")
    page.keyboard.press("Tab")
    page.keyboard.type("b")
    expect(editor(page)).to_be_focused()
    assert page.locator("textarea").input_value().startswith("a\tb"), "while one types, Tab is a character"
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(save).to_be_focused()


def test_leaving_with_unsaved_text_is_asked_about(site: str, layer: Layer, open_page: OpenPage, alice: User) -> None:
    page = open_page(site, alice)
    page.goto(URL)
    editor(page).focus()
    page.keyboard.type("sv_x 1")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    expect(editor(page)).to_contain_text("sv_x 1")


def test_without_scripts_it_is_a_textarea(site: str, layer: Layer, open_page: OpenPage, alice: User) -> None:
    page = open_page(site, alice, java_script_enabled=False)
    page.goto(URL)
    page.get_by_label("Content").fill("sv_tags y")
    page.get_by_role("button", name="Save and build").click()
    layer.refresh_from_db()
    assert layer.source["files"][PATH] == "sv_tags y"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)])
def test_it_is_open_to_everybody_and_no_style_is_refused(
    site: str, layer: Layer, open_page: OpenPage, alice: User, scheme: str, width: int
) -> None:
    page = open_page(site, alice, color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto(URL)  # `open_page` fails on a message about the Content-Security-Policy
    text = editor(page)
    text.focus()
    page.keyboard.press("Control+End")
    page.keyboard.type('hostname "x" 30 ü')
    page.keyboard.press("Control+f")
    page.wait_for_timeout(500)
    assert serious_problems(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    family = page.locator(".cm-scroller").evaluate("node => getComputedStyle(node).fontFamily")
    assert "mono" in family.lower(), "the editor's own styles are in force"
