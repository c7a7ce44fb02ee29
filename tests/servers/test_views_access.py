"""Every page and button of a server, tried by everybody: who sees it, who may press it, who learns nothing."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers.models import Right, Server

PAGES = {
    "": Right.VIEW,
    "history/": Right.VIEW,
    "settings/": Right.SETTINGS,
    "people/": Right.MEMBERS,
    "parts/head/": Right.VIEW,
    "parts/side/": Right.VIEW,
    "parts/card/": Right.VIEW,
    "parts/history/": Right.VIEW,
    "parts/people/": Right.MEMBERS,
}
BUTTONS = {"start/": Right.POWER, "stop/": Right.POWER, "restart/": Right.POWER, "command/": Right.RCON}
HTMX = {"HX-Request": "true"}


def without_token(page: bytes) -> bytes:
    """Without what differs each time: the token, and the time."""
    return re.sub(rb'value="\w{64}"|data-now="\d+"', b"", page)


def url(server: Server, path: str) -> str:
    return f"/servers/{server.name}/{path}"


@pytest.mark.parametrize("path", [*PAGES, "delete/"])
def test_the_owner_and_moderators_see_every_page(
    client: Client, server: Server, alice: User, mod: User, path: str
) -> None:
    for user in (alice, mod):
        client.force_login(user)
        assert client.get(url(server, path)).status_code == 200


@pytest.mark.parametrize(("path", "right"), PAGES.items())
def test_a_member_sees_what_their_right_covers(
    client: Client, server: Server, bob: User, share, path: str, right: Right
) -> None:
    share(bob, right)
    client.force_login(bob)
    assert client.get(url(server, path)).status_code == 200


@pytest.mark.parametrize("path", [*(path for path, right in PAGES.items() if right != Right.VIEW), "delete/"])
def test_a_member_without_the_right_is_told_to_ask_the_owner(
    client: Client, server: Server, bob: User, share, path: str
) -> None:
    share(bob)
    client.force_login(bob)
    answer = client.get(url(server, path))
    assert answer.status_code == 403
    assert server.name in answer.content.decode()


@pytest.mark.parametrize("path", [*PAGES, "delete/"])
def test_a_stranger_finds_nothing(client: Client, server: Server, charlie: User, path: str) -> None:
    client.force_login(charlie)
    answer = client.get(url(server, path))
    assert answer.status_code == 404
    missing = client.get(f"/servers/no-such-server/{path}")
    assert without_token(answer.content) == without_token(missing.content)


@pytest.mark.parametrize("path", [*PAGES, "delete/"])
def test_nobody_and_the_suspended_are_sent_to_sign_in_and_back(
    client: Client, server: Server, alice: User, path: str
) -> None:
    assert client.get(url(server, path)).headers["Location"] == f"/accounts/login/?next={url(server, path)}"
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert client.get(url(server, path)).headers["Location"] == f"/accounts/login/?next={url(server, path)}"
    part = client.get(url(server, path), headers=HTMX)
    assert (part.status_code, part.headers.get("HX-Refresh")) == (401, None), "a reload would lose what was typed"


@pytest.mark.parametrize(("path", "right"), BUTTONS.items())
def test_buttons_are_for_who_has_the_right(
    client: Client, server: Server, bob: User, charlie: User, share, path: str, right: Right
) -> None:
    assert client.post(url(server, path)).status_code == 302
    client.force_login(charlie)
    assert client.post(url(server, path)).status_code == 404
    membership = share(bob)
    client.force_login(bob)
    assert client.post(url(server, path)).status_code == 403
    assert not Job.objects.exists()
    membership.rights.append(right)
    membership.save()
    assert client.post(url(server, path), headers=HTMX).status_code in (204, 409)


@pytest.mark.parametrize("path", [*BUTTONS])
def test_buttons_do_nothing_when_fetched(client: Client, server: Server, alice: User, path: str) -> None:
    client.force_login(alice)
    assert client.get(url(server, path)).status_code == 405
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", BUTTONS)
def test_buttons_need_the_page_they_were_on(server: Server, alice: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    answer = client.post(url(server, path))
    assert answer.status_code == 403
    assert "That form was too old" in answer.content.decode()


def test_a_deleted_server_has_no_page(client: Client, server: Server, alice: User) -> None:
    Server.objects.filter(pk=server.pk).update(deleted_at=timezone.now())
    client.force_login(alice)
    assert client.get(url(server, "")).status_code == 404
