"""What moderators and administrators do with people in the admin."""

import re

import pytest
from django.test import Client

from portal import services
from portal.models import Invitation, User
from servers.models import AuditEvent
from tests.conftest import PASSWORD

USERS, INVITATIONS = "/admin/portal/user/", "/admin/portal/invitation/"


@pytest.fixture
def admin(client: Client, mod: User) -> Client:
    client.force_login(mod)
    return client


@pytest.fixture
def helper(db: None) -> Client:
    """A moderator who is no administrator."""
    client = Client()
    client.force_login(User.objects.create_user("helper", is_staff=True))
    return client


def choose(client: Client, action: str, *users: User, **form: str) -> str:
    """Choose an action for rows of the list, and confirm it when `form` says so."""
    sent = {"action": action, "_selected_action": [user.pk for user in users], **form}
    return client.post(USERS, sent, follow=True).content.decode()


def test_suspending_asks_for_a_reason_first(admin: Client, alice: User) -> None:
    asked = choose(admin, "suspend", alice)
    assert "their servers stop" in asked
    alice.refresh_from_db()
    assert not alice.is_suspended
    assert "alice is suspended." in choose(admin, "suspend", alice, confirmed="1", reason="Cheating")
    alice.refresh_from_db()
    assert alice.suspended_reason == "Cheating"
    assert "alice is reinstated." in choose(admin, "reinstate", alice, confirmed="1")


def test_many_are_suspended_at_once_and_each_refusal_is_told(admin: Client, alice: User, bob: User, mod: User) -> None:
    told = choose(admin, "suspend", alice, bob, mod, confirmed="1", reason="")
    assert "You cannot suspend yourself" in told
    assert "alice is suspended. bob is suspended." in told


def test_an_action_on_a_users_own_page_works_alike(admin: Client, alice: User) -> None:
    address = f"{USERS}{alice.pk}/suspend/"
    assert "their servers stop" in admin.get(address).content.decode()
    assert "alice is suspended." in admin.post(address, {"confirmed": "1", "reason": ""}, follow=True).content.decode()
    assert "still there" in admin.post(f"{USERS}nobody/suspend/", {"confirmed": "1"}, follow=True).content.decode()


def test_suspension_is_no_field_to_edit(admin: Client, alice: User) -> None:
    admin.post(f"{USERS}{alice.pk}/change/", {"suspended_at_0": "2026-01-01", "suspended_reason": "x", "username": "x"})
    alice.refresh_from_db()
    assert (alice.username, alice.is_suspended) == ("alice", False)


def test_an_administrator_makes_a_moderator(admin: Client, alice: User) -> None:
    admin.post(f"{USERS}{alice.pk}/change/", {"is_staff": "on"})
    alice.refresh_from_db()
    assert (alice.is_staff, alice.is_superuser) == (True, False)
    assert AuditEvent.objects.get(action="role").detail == {"user": "alice", "role": "moderator"}


def test_nobody_changes_their_own_role_and_moderators_change_none(
    admin: Client, mod: User, helper: Client, alice: User
) -> None:
    assert admin.post(f"{USERS}{mod.pk}/change/", {}).status_code == 403
    assert helper.post(f"{USERS}{alice.pk}/change/", {"is_superuser": "on"}).status_code == 403
    mod.refresh_from_db()
    alice.refresh_from_db()
    assert mod.is_superuser
    assert not alice.is_staff


def test_a_forgotten_password_is_replaced_by_one_shown_once(helper: Client, alice: User) -> None:
    elsewhere = Client()
    elsewhere.force_login(alice)
    shown = choose(helper, "reset_password", alice, confirmed="1")
    found = re.search(r'readonly value="([^"]+)"', shown)
    assert found
    assert "Their API tokens are revoked" in shown
    alice.refresh_from_db()
    assert alice.check_password(found[1])
    assert elsewhere.get("/accounts/tokens/").status_code == 302


def test_a_moderator_cannot_take_over_an_administrator(helper: Client, mod: User) -> None:
    assert "Only an administrator may reset the password of mod" in choose(helper, "reset_password", mod, confirmed="1")
    mod.refresh_from_db()
    assert mod.check_password(PASSWORD)


def test_passwords_are_reset_one_at_a_time(admin: Client, alice: User, bob: User) -> None:
    assert "Choose 1 at most" in choose(admin, "reset_password", alice, bob, confirmed="1")
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_an_invitation_is_made_and_its_link_shown_once(helper: Client) -> None:
    made = helper.post(f"{INVITATIONS}add/", {"confirmed": "1", "note": "for Dave", "days": "3"})
    found = re.search(r"http://testserver(/invitations/[^/]+/)", made.content.decode())
    assert found
    assert f'data-copy="{found[0]}"' in made.content.decode()
    until = Invitation.objects.get().expires_at
    assert f"can be used until {until:%A}, {until.day} {until:%B %Y, %H:%M} UTC" in made.content.decode()
    assert Client().get(found[1]).status_code == 200
    assert found[1].split("/")[2] not in helper.get(INVITATIONS).content.decode()
    assert Invitation.objects.get().created_by == User.objects.get(username="helper")


@pytest.mark.parametrize("days", ["0", "31", "x", ""])
def test_an_invitation_that_does_not_fit_is_told(helper: Client, days: str) -> None:
    answer = helper.post(f"{INVITATIONS}add/", {"confirmed": "1", "note": "", "days": days})
    assert 'role="alert"' in answer.content.decode()
    assert not Invitation.objects.exists()


def test_an_invitation_is_revoked_once(helper: Client, mod: User) -> None:
    made, secret = services.create_invitation(by=mod, note="for Dave", days=1)
    sent = {"action": "revoke", "_selected_action": made.pk, "confirmed": "1"}
    assert "is revoked." in helper.post(INVITATIONS, sent, follow=True).content.decode()
    assert "was used or revoked before." in helper.post(INVITATIONS, sent, follow=True).content.decode()
    assert Client().get(f"/invitations/{secret}/").status_code == 410


@pytest.mark.parametrize("standing", ["open", "used", "expired", "revoked"])
def test_invitations_are_filtered_by_what_became_of_them(admin: Client, mod: User, standing: str) -> None:
    for note in ("open", "used", "expired", "revoked"):
        services.create_invitation(by=mod, note=f"<{note}>", days=1)
    Invitation.objects.filter(note="<used>").update(used_at="2026-01-01T00:00Z")
    Invitation.objects.filter(note="<expired>").update(expires_at="2026-01-01T00:00Z")
    Invitation.objects.filter(note="<revoked>").update(revoked_at="2026-01-01T00:00Z")
    page = admin.get(f"{INVITATIONS}?standing={standing}").content.decode()
    assert [note for note in ("open", "used", "expired", "revoked") if f"&lt;{note}&gt;" in page] == [standing]


def test_lists_cost_the_same_for_fifty_rows(admin: Client, mod: User, django_assert_max_num_queries) -> None:
    for number in range(50):
        user = User.objects.create_user(f"user-{number}")
        services.create_invitation(by=user, note=str(number), days=1)
    for address in (USERS, INVITATIONS):
        with django_assert_max_num_queries(7):  # session, user, counts, rows
            assert admin.get(address).status_code == 200


@pytest.mark.parametrize(("chosen", "name"), [("yes", "bob"), ("no", "alice")])
def test_users_are_filtered_by_suspension(
    admin: Client, alice: User, bob: User, mod: User, chosen: str, name: str
) -> None:
    services.suspend_user(by=mod, user=bob, reason="")
    page = admin.get(f"{USERS}?suspended={chosen}").content.decode()
    assert [user.username for user in (alice, bob) if f">{user}</a>" in page] == [name]
