"""Signing in and out, and the password: what is let through, what is told, and what ends."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from django.urls import NoReverseMatch, reverse

from jobs.events import CHANNEL
from portal.models import User
from tests.conftest import PASSWORD
from tests.stack import test_database_url as database_url

LOGIN = "/accounts/login/"


@pytest.fixture(autouse=True)
def forget_attempts(db: None) -> None:
    cache.clear()


def sign_in(client: Client, name: str, password: str = PASSWORD, **extra: str):  # type: ignore[no-untyped-def]
    return client.post(LOGIN, {"login": name, "password": password, **extra})


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects the topics published meanwhile; complete once the block is left."""
    topics: list[str] = []
    with psycopg.connect(database_url(), autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        yield topics
        topics += [note.payload for note in listener.notifies(timeout=2, stop_after=1)]


@pytest.mark.parametrize("name", ["alice", "ALICE", " alice "])
def test_a_member_signs_in_by_name_in_any_case(client: Client, alice: User, name: str) -> None:
    assert sign_in(client, name).status_code == 302
    assert client.session["_auth_user_id"] == str(alice.pk)


def test_an_unknown_name_and_a_wrong_password_are_told_alike(client: Client, alice: User) -> None:
    wrong = sign_in(client, "alice", "not it")
    unknown = sign_in(client, "nobody", "not it")
    assert wrong.context["form"].errors == unknown.context["form"].errors
    assert "_auth_user_id" not in client.session


def test_only_a_right_password_learns_of_the_suspension_and_why(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(suspended_at="2026-01-01T00:00Z", suspended_reason="Cheating on Tuesday.")
    assert b"suspended" not in sign_in(client, "alice", "not it").content
    told = sign_in(client, "alice")
    assert "Your account is suspended: Cheating on Tuesday. Ask a moderator about it." in told.content.decode()
    assert "_auth_user_id" not in client.session


def test_guessing_a_password_is_slowed_down(client: Client, alice: User) -> None:
    for _ in range(5):
        sign_in(client, "alice", "not it")
    assert b"Too many failed login attempts" in sign_in(client, "alice").content
    assert "_auth_user_id" not in client.session


def test_wrong_passwords_from_elsewhere_do_not_lock_an_account(client: Client, alice: User) -> None:
    for _ in range(6):
        sign_in(client, "alice", "not it")
    assert sign_in(client, "ALICE ").status_code == 200
    assert sign_in(Client(REMOTE_ADDR="198.51.100.7"), "alice").status_code == 302


def test_wrong_passwords_for_one_name_leave_another_at_that_address_its_tries(alice: User, bob: User) -> None:
    for _ in range(6):
        assert sign_in(Client(), "alice", "wrong").status_code == 200
    assert sign_in(Client(), "bob").status_code == 302


def test_a_known_device_is_never_locked_out_by_others_at_its_address(client: Client, alice: User, bob: User) -> None:
    assert sign_in(client, "alice").status_code == 302
    client.post("/accounts/logout/")
    stranger = Client()
    for number in range(101):
        sign_in(stranger, "alice" if number < 10 else f"name-{number}", "not it")
    assert sign_in(Client(), "bob").status_code == 200  # the address has used up what it had
    assert sign_in(client, "alice").status_code == 302
    client.post("/accounts/logout/")
    assert sign_in(client, "bob").status_code == 200  # known for Alice alone


def test_a_known_device_is_slowed_down_by_its_own_wrong_passwords_alone(client: Client, alice: User) -> None:
    sign_in(client, "alice")
    client.post("/accounts/logout/")
    for _ in range(10):
        sign_in(client, "alice", "not it")
    assert sign_in(client, "alice").status_code == 302
    client.post("/accounts/logout/")
    for _ in range(30):
        sign_in(client, "alice", "not it")
    assert b"Too many failed login attempts" in sign_in(client, "alice").content


@pytest.mark.parametrize("value", ["", "W10:1:x", "é"])
def test_a_forged_device_is_none(client: Client, alice: User, bob: User, value: str) -> None:
    sign_in(client, "bob")
    client.post("/accounts/logout/")
    for forged in (value, client.cookies[f"device-{bob.pk}"].value):
        client.cookies[f"device-{alice.pk}"] = forged
        for _ in range(5):
            sign_in(client, "alice", "not it")
        assert b"Too many failed login attempts" in sign_in(client, "alice").content
    assert (client.cookies[f"device-{bob.pk}"]["httponly"], client.cookies[f"device-{bob.pk}"]["samesite"]) == (
        True,
        "Lax",
    )


def test_signing_in_changes_the_session_key(client: Client, alice: User) -> None:
    client.get(LOGIN)
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = planted = session.session_key
    sign_in(client, "alice")
    assert client.session.session_key != planted


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", r"\\evil.example"]
)
def test_signing_in_never_leads_to_another_site(client: Client, alice: User, target: str) -> None:
    assert sign_in(client, "alice", next=target).headers["Location"] == "/"


def test_signing_in_leads_back_to_the_page_that_was_asked_for(client: Client, alice: User) -> None:
    asked = client.get("/accounts/tokens/")
    assert asked.headers["Location"] == f"{LOGIN}?next=/accounts/tokens/"
    assert sign_in(client, "alice", next="/accounts/tokens/").headers["Location"] == "/accounts/tokens/"


@pytest.mark.parametrize("page", ["signup", "email", "reset_password", "set_password", "reauthenticate", "inactive"])
def test_pages_of_allauth_that_nobody_needs_are_not_there(page: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"account_{page}")


@pytest.mark.parametrize("path", ["signup/", "email/", "password/reset/", "confirm-email/", "social/login/cancelled/"])
def test_their_addresses_lead_nowhere(client: Client, db: None, path: str) -> None:
    assert client.get(f"/accounts/{path}").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_signing_out_tells_the_sockets_of_that_session(client: Client, alice: User) -> None:
    client.force_login(alice)
    key = client.session.session_key
    assert key
    with heard() as topics:
        assert client.post("/accounts/logout/").status_code == 302
    assert topics == [f"access:session:{hashlib.sha256(key.encode()).hexdigest()}"]
    assert client.get("/accounts/tokens/").status_code == 302


def test_signing_out_takes_a_post(client: Client, alice: User) -> None:
    client.force_login(alice)
    client.get("/accounts/logout/")
    assert "_auth_user_id" in client.session


@pytest.mark.django_db(transaction=True)
def test_a_new_password_keeps_this_session_and_ends_the_others(client: Client, alice: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(alice)
    client.force_login(alice)
    new = "a much better phrase"
    with heard() as topics:
        changed = client.post("/accounts/password/", {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert changed.status_code == 302, changed.context["form"].errors
    assert topics == [f"access:user:{alice.pk}"]
    assert client.get("/accounts/tokens/").status_code == 200
    assert elsewhere.get("/accounts/tokens/").status_code == 302
    assert sign_in(Client(), "alice", new).status_code == 302


def test_a_bad_new_password_is_refused_with_sentences(client: Client, alice: User) -> None:
    client.force_login(alice)
    refused = client.post("/accounts/password/", {"oldpassword": PASSWORD, "password1": "alice", "password2": "alice"})
    assert "too similar" in str(refused.context["form"].errors)
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


@pytest.mark.parametrize("path", [LOGIN, "/accounts/logout/", "/accounts/password/", "/accounts/tokens/"])
def test_posts_need_a_csrf_token(alice: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(path).status_code == 403


def test_pages_cannot_be_framed_and_cookies_are_kept_from_scripts(client: Client, alice: User) -> None:
    answer = sign_in(client, "alice")
    assert client.get(LOGIN).headers["X-Frame-Options"] == "DENY"
    cookie = answer.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_over_https_cookies_are_for_https_alone() -> None:
    names = "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS"
    asked = f"from portal import settings as s; print(*(bool(getattr(s, name)) for name in {names}))"
    for https, expected in (("1", "True True True"), ("0", "False False False")):
        run = subprocess.run(
            [sys.executable, "-c", asked],
            cwd=settings.BASE_DIR,
            env=os.environ | {"LEFT4ME_HTTPS": https},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.stdout.strip() == expected, run.stderr


@pytest.mark.parametrize("name", ["a", "-dash", "two words", "x" * 31, "naïve", "tab\t", "line\n", "a/b", ""])
def test_the_database_refuses_names_that_cannot_be_read(db: None, name: str) -> None:
    with pytest.raises(Exception, match=r"username_pattern|too long|must be set"):
        User.objects.create_user(name)


def test_the_database_refuses_a_name_that_differs_by_case_only(alice: User) -> None:
    with pytest.raises(Exception, match="username_once_whatever_case"):
        User.objects.create_user("Alice")
