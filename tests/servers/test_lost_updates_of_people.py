"""Two who save what is about people at once: rights, roles, owners, Steam ids; and what a server is to do later."""

import re
from collections.abc import Callable

import pytest
from django.test import Client

from portal.models import User
from servers import services
from servers.models import Membership, Pending, Right, Server
from tests.api import Api
from tests.servers.test_lost_updates import fields_of, open_form

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def test_two_tabs_with_another_steam_id_tell_the_second(browser: Client, alice: User) -> None:
    url = "/accounts/steam-id/"
    one, two, three = (open_form(browser, url) for _ in range(3))
    assert browser.post(url, one | {"steam_id": "76561197960287930"}).status_code == 302
    told = browser.post(url, two | {"steam_id": "76561197960287931"})
    assert told.status_code == 409
    assert "Somebody changed it to “76561197960287930” since you opened this page" in told.content.decode()
    assert browser.post(url, three | {"steam_id": "STEAM_1:0:11101"}).status_code == 302, "the same account"
    assert browser.post(url, three).status_code == 302, "nothing was changed in this tab, so nothing is stored"
    alice.refresh_from_db()
    assert alice.steam_id == 76561197960287930
    assert browser.post(url, fields_of(told.content.decode())).status_code == 302
    alice.refresh_from_db()
    assert alice.steam_id == 76561197960287931


def test_rights_that_somebody_else_changed_meanwhile_are_told_and_not_undone(
    browser: Client, server: Server, bob: User, share: Callable[..., Membership]
) -> None:
    membership, url = share(bob, Right.CONSOLE), f"/servers/{server.name}/people/"
    one, two, three = (open_form(browser, url, url) for _ in range(3))
    for sent in (one | {"username": "bob", "rights": ["console", "power"]}, three | {"username": "charlie"}):
        assert browser.post(url, sent).status_code in (302, 422)
    told = browser.post(url, two | {"username": "Bob", "rights": ["console", "files"]})
    assert told.status_code == 409
    assert "Now bob may: console, power. Share again" in told.content.decode()
    membership.refresh_from_db()
    assert membership.rights == ["console", "power", "view"]
    same = {"username": "bob", "rights": ["console", "power"]}
    assert browser.post(url, two | same).status_code == 302, "what is there already is no conflict"
    again = fields_of(told.content.decode(), url) | {"rights": ["console", "files"]}
    assert browser.post(url, again).status_code == 302
    membership.refresh_from_db()
    assert membership.rights == ["console", "files", "view"]


def test_whoever_was_let_in_or_taken_off_meanwhile_is_told(
    browser: Client, server: Server, bob: User, charlie: User, share: Callable[..., Membership]
) -> None:
    share(charlie, Right.POWER)
    url = f"/servers/{server.name}/people/"
    sent = open_form(browser, url, url)
    share(bob, Right.POWER)
    told = browser.post(url, sent | {"username": "bob", "rights": ["console"]})
    assert "Now bob may: power." in told.content.decode()
    services.unshare_server(by=server.owner, server=server, user=charlie)
    told = browser.post(url, sent | {"username": "charlie", "rights": ["console"]})
    assert "Now charlie may do nothing here." in told.content.decode()
    assert not server.memberships.model.objects.filter(user=charlie).exists()


def test_a_program_may_say_which_rights_it_saw(server: Server, alice: User, bob: User) -> None:
    path, api = f"/servers/{server.name}/members", Api(alice)
    given = api("post", path, {"username": "bob", "rights": ["power"], "was": []}).json()
    refused = api("post", path, {"username": "bob", "rights": ["console"], "was": []})
    assert refused.status_code == 409
    assert "Now bob may: power." in refused.json()["detail"]
    wish = {"username": "bob", "rights": ["console"]}
    assert api("post", path, wish | {"was": given["rights"]}).json()["rights"] == ["console", "view"]
    assert api("post", path, {"username": "bob", "rights": ["rcon"]}).json()["rights"] == ["rcon", "view"]


def test_a_wish_for_later_does_not_replace_one_that_its_page_did_not_show(browser: Client, server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(unit="running")
    server.refresh_from_db()
    page, url = f"/servers/{server.name}/", f"/servers/{server.name}/later/"
    one, two = open_form(browser, page, url), open_form(browser, page, url)
    hx = {"HX-Request": "true"}
    assert browser.post(url, one | {"verb": "stop", "when": "600"}, headers=hx).status_code == 204
    waits = Pending.objects.get()
    for wish in ({"verb": "restart", "when": "600"}, {"verb": "stop", "when": "0"}, {"verb": "stop", "when": "60"}):
        refused = browser.post(url, two | wish, headers=hx)
        assert refused.status_code == 409
        assert "alice asked for a stop meanwhile" in refused.headers["HX-Trigger"]
    assert browser.post(url, one | {"verb": "stop", "when": "600"}, headers=hx).status_code == 204, "pressed twice"
    now = Pending.objects.get()
    assert (now.verb, now.due_at) == (waits.verb, waits.due_at)


def test_two_moderators_with_the_disk_limit_of_a_member(client: Client, alice: User, mod: User) -> None:
    client.force_login(mod)
    url = _action(client, f"/admin/portal/user/{alice.pk}/change/", "set_disk_limit")
    one, two, three = (open_form(client, url) for _ in range(3))
    assert client.post(url, one | {"disk_quota_mib": "5"}).status_code == 302
    assert b"Somebody changed it to" in client.post(url, two | {"disk_quota_mib": "7"}).content
    assert client.post(url, three).status_code == 302, "nothing was changed, so nothing is stored"
    alice.refresh_from_db()
    assert alice.disk_quota_mib == 5


def test_two_moderators_who_give_a_server_away(client: Client, server: Server, bob: User, mod: User) -> None:
    client.force_login(mod)
    url = _action(client, f"/admin/servers/server/{server.pk}/change/", "transfer")
    one, two = open_form(client, url), open_form(client, url)
    assert one["to"] == "alice"
    assert client.post(url, one | {"to": "bob"}).status_code == 302
    assert "Somebody changed it to “bob”" in client.post(url, two | {"to": "mod"}).content.decode()
    server.refresh_from_db()
    assert server.owner == bob
    assert "bob owns alices-practice already" in client.post(url, open_form(client, url), follow=True).content.decode()


def test_two_administrators_with_the_role_of_a_member(client: Client, alice: User, mod: User) -> None:
    client.force_login(mod)
    url = f"/admin/portal/user/{alice.pk}/change/"
    one, two = open_form(client, url, "user_form"), open_form(client, url, "user_form")
    assert client.post(url, one | {"is_staff": "on"}).status_code == 302
    assert client.post(url, two).status_code == 302
    alice.refresh_from_db()
    assert alice.is_staff, "the other tab changed nothing"
    assert client.post(url, two | {"is_superuser": "on"}).status_code == 302
    assert client.post(url, one | {"is_staff": ""}).status_code == 302
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (True, True)


def _action(client: Client, page: str, name: str) -> str:
    """The address of an admin page's action."""
    found = re.search(rf'href="([^"]*{name.replace("_", "[-_]")}[^"]*)"', client.get(page).content.decode())
    assert found
    return found[1]
