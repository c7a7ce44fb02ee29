"""Suspending somebody keeps them out at once and for good, and never locks the last administrator out."""

from functools import partial

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from portal import services, tokens
from portal.models import User
from servers.models import AuditEvent, Server
from tests.conftest import PASSWORD
from tests.servers.racing import race

PAGE = "/accounts/tokens/"


@pytest.fixture
def helper(db: None) -> User:
    """Moderates without being an administrator."""
    return User.objects.create_user("helper", password=PASSWORD, is_staff=True)


def test_suspending_ends_sessions_and_refuses_tokens(client: Client, alice: User, mod: User) -> None:
    client.force_login(alice)
    _, secret = tokens.create_token(user=alice, name="laptop")
    assert client.get(PAGE).status_code == 200
    services.suspend_user(by=mod, user=alice, reason="Cheating.")
    assert client.get(PAGE).status_code == 302
    assert tokens.authenticate(secret) is None


def test_an_ended_session_stays_ended_after_reinstating(client: Client, alice: User, mod: User) -> None:
    client.force_login(alice)
    services.suspend_user(by=mod, user=alice, reason="")
    services.reinstate_user(by=mod, user=alice)
    assert client.get(PAGE).status_code == 302
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert client.get(PAGE).status_code == 200


def test_suspending_stops_the_servers_that_run(server: Server, alice: User, mod: User) -> None:
    Server.objects.filter(pk=server.pk).update(desired="run", unit="running")
    (job,) = services.suspend_user(by=mod, user=alice, reason="")
    assert (job.kind, job.subject, job.state) == ("servers.stop", server.topic, Job.State.QUEUED)
    server.refresh_from_db()
    assert server.desired == "stop"


def test_both_are_kept_in_the_audit_trail(alice: User, mod: User) -> None:
    services.suspend_user(by=mod, user=alice, reason="Cheating.")
    services.reinstate_user(by=mod, user=alice)
    reinstated, suspended = AuditEvent.objects.all()
    assert (suspended.action, suspended.actor) == ("suspend", mod)
    assert suspended.detail == {"user": "alice", "reason": "Cheating."}
    assert (reinstated.action, reinstated.detail) == ("reinstate", {"user": "alice"})


def test_suspending_twice_and_reinstating_twice_is_told(alice: User, mod: User) -> None:
    services.suspend_user(by=mod, user=alice, reason="")
    with pytest.raises(services.SuspensionError, match="alice is suspended already"):
        services.suspend_user(by=mod, user=alice, reason="")
    services.reinstate_user(by=mod, user=alice)
    with pytest.raises(services.SuspensionError, match="alice is not suspended"):
        services.reinstate_user(by=mod, user=alice)


def test_nobody_suspends_themselves(mod: User) -> None:
    with pytest.raises(services.SuspensionError, match="cannot suspend yourself"):
        services.suspend_user(by=mod, user=mod, reason="")


def test_moderators_are_for_administrators_to_suspend(helper: User, mod: User, alice: User) -> None:
    services.suspend_user(by=helper, user=alice, reason="")
    with pytest.raises(services.SuspensionError, match="Only an administrator may suspend mod"):
        services.suspend_user(by=helper, user=mod, reason="")
    other = User.objects.create_user("other", is_staff=True)
    services.suspend_user(by=mod, user=other, reason="")
    with pytest.raises(services.SuspensionError, match="Only an administrator may reinstate other"):
        services.reinstate_user(by=helper, user=other)


@pytest.mark.django_db(transaction=True)
def test_two_administrators_at_once_cannot_suspend_each_other(mod: User) -> None:
    boss = User.objects.create_superuser("boss")
    suspend = partial(services.suspend_user, reason="")
    outcomes = race([partial(suspend, by=mod, user=boss), partial(suspend, by=boss, user=mod)])
    (refusal,) = [outcome for outcome in outcomes if outcome != []]
    assert "Only an administrator may suspend" in str(refusal)


@pytest.mark.django_db(transaction=True)
def test_two_administrators_at_once_cannot_demote_each_other(mod: User) -> None:
    boss = User.objects.create_superuser("boss")
    demote = partial(services.change_role, is_staff=False, is_superuser=False)
    outcomes = race([partial(demote, by=mod, user=boss), partial(demote, by=boss, user=mod)])
    assert [type(outcome) for outcome in outcomes if outcome] == [services.RoleError]
    assert User.objects.filter(is_superuser=True).count() == 1


def test_who_is_no_administrator_any_more_suspends_no_moderator(alice: User, bob: User, mod: User) -> None:
    stale = User.objects.get(pk=mod.pk)
    User.objects.filter(pk=mod.pk).update(is_superuser=False)
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    assert stale.is_superuser and not bob.is_staff, "as a page had read them"
    with pytest.raises(services.SuspensionError, match="Only an administrator may suspend bob"):
        services.suspend_user(by=stale, user=bob, reason="")
    with pytest.raises(services.RoleError, match="Only an administrator may reset the password of bob"):
        services.reset_password(by=stale, user=bob)
    services.suspend_user(by=stale, user=alice, reason="")
    User.objects.filter(pk=bob.pk).update(suspended_at=timezone.now())
    with pytest.raises(services.SuspensionError, match="Only an administrator may reinstate bob"):
        services.reinstate_user(by=stale, user=bob)
