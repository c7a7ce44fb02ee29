"""API tokens: shown once, stored hashed, bounded, and refused the moment they or their owner should be."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal import services, tokens
from portal.models import ApiToken, User
from servers.models import AuditEvent
from tests.conftest import PASSWORD
from tests.portal.test_accounts import heard


def test_a_token_stands_for_its_user(alice: User) -> None:
    _, secret = tokens.create_token(user=alice, name="laptop")
    assert secret.startswith("l4m_")
    assert tokens.authenticate(secret) == alice


def test_the_secret_is_stored_nowhere(alice: User) -> None:
    made, secret = tokens.create_token(user=alice, name="laptop")
    stored = " ".join(str(value) for value in ApiToken.objects.filter(pk=made.pk).values_list()[0])
    assert secret not in stored
    assert secret[12:] not in stored


@pytest.mark.parametrize("wrong", ["", "l4m_", "l4m_" + "a" * 43, "x" * 100_000, "\x00", "l4m_é", "l4m_\udc80"])
def test_an_unknown_token_stands_for_nobody(alice: User, wrong: str) -> None:
    tokens.create_token(user=alice, name="laptop")
    assert tokens.authenticate(wrong) is None


def test_a_longer_string_that_starts_with_a_token_is_refused(alice: User) -> None:
    _, secret = tokens.create_token(user=alice, name="laptop")
    assert tokens.authenticate(secret + "x") is None


def test_a_revoked_token_is_refused(alice: User) -> None:
    made, secret = tokens.create_token(user=alice, name="laptop")
    assert tokens.revoke_token(token=made)
    assert tokens.authenticate(secret) is None
    assert not tokens.revoke_token(token=made)


@pytest.mark.parametrize("change", [{"suspended_at": timezone.now()}, {"is_active": False}])
def test_a_token_of_someone_who_may_not_enter_is_refused(alice: User, change: dict[str, object]) -> None:
    _, secret = tokens.create_token(user=alice, name="laptop")
    User.objects.filter(pk=alice.pk).update(**change)
    assert tokens.authenticate(secret) is None


def test_use_is_noted_once_a_minute(alice: User, django_assert_num_queries) -> None:
    made, secret = tokens.create_token(user=alice, name="laptop")
    with django_assert_num_queries(2):
        tokens.authenticate(secret)
    with django_assert_num_queries(1):
        tokens.authenticate(secret)
    past = timezone.now() - timedelta(minutes=2)
    ApiToken.objects.filter(pk=made.pk).update(last_used_at=past)
    tokens.authenticate(secret)
    made.refresh_from_db()
    assert made.last_used_at is not None
    assert made.last_used_at > past


def test_a_name_is_free_again_once_its_token_is_revoked(alice: User) -> None:
    made, _ = tokens.create_token(user=alice, name="laptop")
    with pytest.raises(tokens.TokenError, match="already have a token named “laptop”"):
        tokens.create_token(user=alice, name="laptop")
    tokens.revoke_token(token=made)
    tokens.create_token(user=alice, name="laptop")


@pytest.mark.django_db(transaction=True)
def test_requests_at_once_do_not_pass_the_limit_together(alice: User) -> None:
    for number in range(tokens.MOST_PER_USER - 1):
        tokens.create_token(user=alice, name=f"token {number}")

    def make(number: int) -> bool:
        try:
            tokens.create_token(user=alice, name=f"race {number}")
        except tokens.TokenError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(make, range(4))) == 1


PAGE = "/accounts/tokens/"


def test_the_page_shows_a_new_token_once(client: Client, alice: User) -> None:
    client.force_login(alice)
    made = client.post(PAGE, {"name": "laptop"})
    secret = made.context["secret"]
    assert secret in made.content.decode()
    assert "no-store" in made.headers["Cache-Control"]
    assert tokens.authenticate(secret) == alice
    again = client.get(PAGE).content.decode()
    assert secret not in again
    assert "laptop" in again


def test_the_page_says_why_no_token_was_made(client: Client, alice: User) -> None:
    client.force_login(alice)
    tokens.create_token(user=alice, name="laptop")
    refused = client.post(PAGE, {"name": "laptop"})
    assert refused.status_code == 422
    assert "already have a token named “laptop”" in refused.content.decode()


def test_the_page_revokes_a_token(client: Client, alice: User) -> None:
    client.force_login(alice)
    made, secret = tokens.create_token(user=alice, name="laptop")
    assert client.post(f"{PAGE}{made.pk}/revoke/").status_code == 302
    assert tokens.authenticate(secret) is None


def test_nobody_else_sees_or_revokes_a_token(client: Client, alice: User, bob: User, mod: User) -> None:
    made, secret = tokens.create_token(user=alice, name="laptop")
    for stranger in (bob, mod):
        client.force_login(stranger)
        assert "laptop" not in client.get(PAGE).content.decode()
        assert client.post(f"{PAGE}{made.pk}/revoke/").status_code == 404
    assert tokens.authenticate(secret) == alice


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}1/revoke/"])
def test_an_anonymous_or_suspended_visitor_is_sent_to_sign_in(client: Client, alice: User, path: str) -> None:
    assert "/accounts/login/" in client.post(path).headers["Location"]
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert "/accounts/login/" in client.post(path).headers["Location"]


def test_the_page_costs_the_same_for_many_tokens(client: Client, alice: User, django_assert_max_num_queries) -> None:
    client.force_login(alice)
    for number in range(tokens.MOST_PER_USER):
        tokens.create_token(user=alice, name=f"token {number}")
    with django_assert_max_num_queries(4):
        client.get(PAGE)


def change_password(client: Client, **more: str) -> None:
    new = "a much better phrase"
    form = {"oldpassword": PASSWORD, "password1": new, "password2": new}
    assert client.post("/accounts/password/", form | more).status_code == 302


def test_a_new_password_revokes_tokens_unless_that_is_unticked(client: Client, alice: User, bob: User) -> None:
    secrets = {user: tokens.create_token(user=user, name="laptop")[1] for user in (alice, bob)}
    client.force_login(alice)
    page = client.get("/accounts/password/").content.decode()
    assert re.search(r'<input type="checkbox" name="revoke_tokens"[^>]* checked', page)
    change_password(client, revoke_tokens="on")
    client.force_login(bob)
    change_password(client)
    assert [tokens.authenticate(secret) for secret in secrets.values()] == [None, bob]


def test_who_has_no_tokens_is_not_asked_about_them(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert "revoke_tokens" not in client.get("/accounts/password/").content.decode()
    change_password(client)


def test_a_moderators_reset_revokes_tokens(alice: User, mod: User) -> None:
    _, secret = tokens.create_token(user=alice, name="laptop")
    services.reset_password(by=mod, user=alice)
    assert tokens.authenticate(secret) is None
    assert AuditEvent.objects.get().detail == {"user": "alice", "tokens": 1}


def test_a_request_that_a_new_password_overtakes_makes_no_token(alice: User, mod: User) -> None:
    services.reset_password(by=mod, user=User.objects.get(pk=alice.pk))
    with pytest.raises(tokens.TokenError, match="Sign in again"):
        tokens.create_token(user=alice, name="laptop")


def test_a_moderator_revokes_the_tokens_of_members_alone(client: Client, alice: User, bob: User, mod: User) -> None:
    helper = User.objects.create_user("helper", is_staff=True)
    secrets = {user: tokens.create_token(user=user, name="laptop")[1] for user in (alice, bob, mod)}
    client.force_login(helper)
    sent = {"action": "revoke_tokens", "_selected_action": [alice.pk, mod.pk], "confirmed": "1"}
    page = client.post("/admin/portal/user/", sent, follow=True).content.decode()
    assert "alice had 1 API token, revoked now." in page
    assert "Only an administrator may revoke the tokens of mod" in page
    assert [tokens.authenticate(secret) for secret in secrets.values()] == [None, bob, mod]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "revoke",
    [
        lambda mod, token: tokens.revoke_token(token=token),
        lambda mod, token: tokens.revoke_tokens(user=token.user),
        lambda mod, token: services.reset_password(by=mod, user=token.user),
    ],
    ids=["one", "all", "reset"],
)
def test_sockets_that_are_open_by_a_revoked_token_hear_of_it(
    alice: User, mod: User, revoke: Callable[[User, ApiToken], object]
) -> None:
    token, _ = tokens.create_token(user=alice, name="laptop")
    with heard() as topics:
        revoke(mod, token)
    assert topics == [f"access:user:{alice.pk}"]
