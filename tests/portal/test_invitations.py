"""Invitations: one link, one account, decided by the database."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal import services
from portal.models import Invitation, User
from tests.stack import Stack, wait_for

NEW = {"username": "dave", "password1": "dave likes long walks", "password2": "dave likes long walks"}
LIKE_NEW = {"password1": NEW["password1"].replace("dave", "eve"), "password2": NEW["password2"].replace("dave", "eve")}


@pytest.fixture
def link(mod: User) -> str:
    _, secret = services.create_invitation(by=mod, note="for Dave", days=7)
    return f"/invitations/{secret}/"


def test_a_newcomer_picks_a_name_and_a_password_and_is_in(client: Client, link: str) -> None:
    assert client.get(link).status_code == 200
    assert client.post(link, NEW).headers["Location"] == "/"
    dave = User.objects.get(username="dave")
    assert client.session["_auth_user_id"] == str(dave.pk)
    assert dave.check_password(NEW["password1"])
    assert not dave.is_staff
    invitation = Invitation.objects.get()
    assert invitation.used_by == dave
    assert invitation.used_at


def test_the_secret_is_stored_nowhere(link: str) -> None:
    stored = " ".join(str(value) for value in Invitation.objects.values_list()[0])
    assert link.split("/")[2] not in stored


def test_the_secret_of_a_link_that_still_holds_is_not_logged(client: Client, link: str, caplog) -> None:
    assert client.post(link, NEW | {"password2": "mistyped"}).status_code == 422
    assert Client(enforce_csrf_checks=True).post(link, NEW).status_code == 403
    assert link.split("/")[2] not in caplog.text


def test_the_address_is_told_to_nothing_that_the_page_leads_to(client: Client, link: str) -> None:
    assert client.get(link).headers["Referrer-Policy"] == "strict-origin"
    assert client.get("/accounts/login/").headers["Referrer-Policy"] == "same-origin"


def test_an_error_of_the_page_is_logged_without_the_secret(tmp_path: Path) -> None:
    with Stack(tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none") as stack:
        url = stack.start_web()
        with pytest.raises(HTTPError):
            urlopen(f"{url}/invitations/sesame/")
        log = wait_for((tmp_path / "web.log").read_text, what="a line in the log")
    assert "/invitations/-/" in log
    assert "sesame" not in log


def test_a_used_link_says_so_and_lets_nobody_in(client: Client, link: str) -> None:
    client.post(link, NEW)
    late = Client().post(link, LIKE_NEW | {"username": "eve"})
    assert late.status_code == 410
    assert "has been used" in late.content.decode()
    assert not User.objects.filter(username="eve").exists()


def test_an_expired_link_says_so(client: Client, link: str) -> None:
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "has expired. Ask whoever sent it for a new one" in client.get(link).content.decode()
    assert client.post(link, NEW).status_code == 410
    assert not User.objects.filter(username="dave").exists()


def test_a_withdrawn_link_says_so(client: Client, link: str) -> None:
    services.revoke_invitation(invitation=Invitation.objects.get())
    assert "was withdrawn" in client.get(link).content.decode()
    assert client.post(link, NEW).status_code == 410


def test_an_unknown_link_says_so(client: Client, db: None) -> None:
    answer = client.get("/invitations/made-up/")
    assert answer.status_code == 410
    assert "not an invitation of ours" in answer.content.decode()


@pytest.mark.parametrize("days", [0, 31, -1])
def test_an_invitation_is_valid_for_a_month_at_most(mod: User, days: int) -> None:
    with pytest.raises(services.InvitationError, match="1 to 30 days"):
        services.create_invitation(by=mod, note="", days=days)


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"username": "ALICE"}, "username", "That name is taken. Choose another."),
        ({"username": "alice"}, "username", "That name is taken. Choose another."),
        ({"username": "two words"}, "username", "Use 2 to 30 letters"),
        ({"password1": "short", "password2": "short"}, "password1", "too short"),
        ({"password1": "password", "password2": "password"}, "password1", "too common"),
        ({"password2": "something else"}, "password2", "didn’t match"),
    ],
)
def test_what_does_not_fit_is_told_by_field(
    client: Client, alice: User, link: str, change: dict[str, str], field: str, sentence: str
) -> None:
    refused = client.post(link, NEW | change)
    assert refused.status_code == 422
    assert sentence in str(refused.context["form"].errors[field])
    focused = re.findall(r"<input[^>]*autofocus[^>]*>", refused.content.decode())
    assert [f'name="{field}"' in control for control in focused] == [True]
    assert User.objects.count() == 2  # alice and mod
    assert Invitation.objects.get().is_open


def test_whoever_is_signed_in_is_asked_to_sign_out_first(client: Client, alice: User, link: str) -> None:
    client.force_login(alice)
    answer = client.post(link, NEW)
    assert answer.status_code == 409
    assert "You are signed in as alice" in answer.content.decode()
    assert Invitation.objects.get().is_open


def test_accepting_needs_a_csrf_token(link: str) -> None:
    assert Client(enforce_csrf_checks=True).post(link, NEW).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_of_two_newcomers_at_once_one_wins_and_the_other_is_told(link: str) -> None:
    together = Barrier(2)

    def accept(name: str) -> str:
        client = Client()
        together.wait()
        try:
            answer = client.post(link, LIKE_NEW | {"username": name})
            return "in" if answer.status_code == 302 else answer.content.decode()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(accept, ["first", "second"]))
    assert outcomes.count("in") == 1
    assert "has been used" in next(outcome for outcome in outcomes if outcome != "in")
    assert User.objects.filter(username__in=["first", "second"]).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_links_for_one_name_one_wins_and_the_other_can_choose_again(mod: User) -> None:
    secrets = [services.create_invitation(by=mod, note="", days=1)[1] for _ in range(2)]
    together = Barrier(2)

    def accept(numbered: tuple[int, str]) -> str:
        together.wait()
        try:
            services.accept_invitation(secret=numbered[1], username=["Frank", "frank"][numbered[0]], password="x")
            return "in"
        except services.NameTaken as error:
            return str(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(accept, enumerate(secrets)))
    assert sorted(outcomes) == ["That name is taken. Choose another.", "in"]
    assert sum(invitation.is_open for invitation in Invitation.objects.all()) == 1
