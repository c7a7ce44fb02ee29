"""What is typed into the admin's forms is kept over a closed tab and a refusal, until it is saved."""

from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from portal.models import User
from servers.models import Blueprint
from tests.browser.conftest import sign_in
from tests.browser.test_unsaved_text import NOTE, drafted, drafts
from tests.stack import wait_for

pytestmark = pytest.mark.browser
OpenPage = Callable[..., Page]


def test_what_is_typed_into_a_blueprint_is_back_until_it_is_saved(
    site: str, blueprint: Blueprint, mod: User, open_page: OpenPage
) -> None:
    page = open_page(site, mod)
    url = f"/admin/servers/blueprint/{blueprint.pk}/change/"
    page.goto(url)
    page.get_by_label("Settings").fill('{"max_players": 6')
    drafted(page)
    again = page.context.new_page()
    page.close()
    again.goto(url)
    expect(again.locator(NOTE)).to_contain_text("It is not saved yet")
    expect(again.get_by_label("Settings")).to_have_value('{"max_players": 6')
    again.get_by_role("button", name="Save", exact=True).click()
    expect(again.get_by_text("Enter a valid JSON.")).to_be_visible()
    assert drafts(again), "refused, so not saved"
    again.on("dialog", lambda dialog: dialog.accept())
    again.goto(url)
    expect(again.get_by_label("Settings")).to_have_value('{"max_players": 6')
    again.get_by_label("Settings").fill('{"max_players": 6}')
    again.get_by_role("button", name="Save", exact=True).click()
    expect(again.get_by_text("was changed successfully")).to_be_visible()
    wait_for(lambda: again.wait_for_timeout(50) or not drafts(again), what="the draft to be forgotten")
    blueprint.refresh_from_db()
    assert blueprint.settings == {"max_players": 6}
    again.goto(url)
    expect(again.locator(NOTE)).to_have_count(0)


def test_the_reason_of_a_suspension_is_back_after_signing_in_again(
    site: str, alice: User, mod: User, open_page: OpenPage
) -> None:
    page = open_page(site, mod)
    url = f"/admin/portal/user/{alice.pk}/suspend/"
    page.goto(url)
    page.get_by_label("Reason").fill("He knows why")
    drafted(page)
    Session.objects.all().delete()
    page.get_by_role("button", name="Suspend").click()
    sign_in(page.context, site, mod)
    page.goto(url)
    expect(page.get_by_label("Reason")).to_have_value("He knows why")
    page.get_by_role("button", name="Suspend").click()
    wait_for(lambda: page.wait_for_timeout(50) or not drafts(page), what="the draft to be forgotten")
    alice.refresh_from_db()
    assert alice.suspended_reason == "He knows why"


def test_a_choice_in_a_list_is_no_draft_and_nobody_is_asked_about_it(
    site: str, blueprint: Blueprint, mod: User, open_page: OpenPage
) -> None:
    page = open_page(site, mod)
    asked: list[str] = []
    page.on("dialog", lambda dialog: asked.append(dialog.type) or dialog.accept())
    page.goto("/admin/servers/blueprint/")
    page.locator("[name=_selected_action]").first.check()
    page.wait_for_timeout(600)
    assert drafts(page) == []
    page.goto("/admin/")
    expect(page.get_by_role("heading", name="Moderation")).to_be_visible()
    assert asked == []
