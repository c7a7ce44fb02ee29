"""Every page and action of the admin, tried by those who have no business there."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from jobs.models import Job
from portal import services
from portal.models import Invitation, User
from servers.models import AuditEvent, Blueprint, HostReport, Installation, Membership, Node, Server
from servers.services import stop_server


@pytest.fixture
def rows(server: Server, bob: User, mod: User) -> dict[type, object]:
    """One of everything that the admin shows."""
    services.create_invitation(by=mod, note="", days=1)
    Membership.objects.create(server=server, user=bob, rights=["view"])
    return {
        User: bob,
        Invitation: Invitation.objects.get(),
        Server: server,
        Job: stop_server(by=mod, server=server),
        type(server.console): server.console,
        Node: server.node,
        Installation: Installation.objects.create(node=server.node, game="practice", version="1"),
        Blueprint: server.blueprint,
        HostReport: HostReport.objects.create(node=server.node, at=timezone.now()),
        AuditEvent: AuditEvent.objects.first(),
    }


def addresses(rows: dict[type, object]) -> list[str]:
    found = ["/admin/", "/admin/search/", "/admin/jsi18n/", "/admin/password_change/"]
    for model, model_admin in admin.site._registry.items():
        row = rows[model].pk  # type: ignore[attr-defined]  # fails for a model that `rows` forgot
        base = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found += [reverse(f"{base}_{page}") for page in ("changelist", "add")]
        found += [reverse(f"{base}_{page}", args=[row]) for page in ("change", "delete", "history")]
        found += [reverse(f"{base}_{action}", args=[row]) for action in model_admin.actions]
    return found


def state() -> list[object]:
    """What an action could change."""
    return [
        list(model.objects.order_by("pk").values())
        for model in (User, Invitation, Server, Job, Node, Installation, Blueprint, Membership, AuditEvent)
    ]


def test_members_and_strangers_and_suspended_moderators_get_nowhere(rows: dict[type, object], alice: User) -> None:
    helper = User.objects.create_user("helper", is_staff=True)
    suspended, member, anonymous = Client(), Client(), Client()
    suspended.force_login(helper)
    member.force_login(alice)
    User.objects.filter(pk=helper.pk).update(suspended_at=timezone.now())
    before = state()
    for address in addresses(rows):
        for client in (suspended, anonymous):
            for answer in (client.get(address), client.post(address, {"confirmed": "1", "to": "alice"})):
                assert answer.status_code == 302, address
                assert answer.headers["Location"].startswith(("/admin/login/", "/accounts/login/")), address
        for answer in (member.get(address, follow=True), member.post(address, {"confirmed": "1"}, follow=True)):
            assert answer.status_code == 403, address
    assert state() == before


def test_actions_on_the_list_are_refused_too(rows: dict[type, object], alice: User) -> None:
    member = Client()
    member.force_login(alice)
    before = state()
    for model, model_admin in admin.site._registry.items():
        for action in model_admin.actions:
            sent = {"action": action, "_selected_action": rows[model].pk, "confirmed": "1", "to": "alice"}  # type: ignore[attr-defined]
            address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            assert member.post(address, sent, follow=True).status_code == 403
            assert Client().post(address, sent).status_code == 302
    assert state() == before


def test_a_moderator_opens_every_page_and_is_asked_before_every_action(rows: dict[type, object]) -> None:
    helper = User.objects.create_user("helper", is_staff=True)
    client = Client()
    client.force_login(helper)
    before = state()
    for address in addresses(rows):
        may_add = "blueprint" in address or address == "/admin/portal/invitation/add/"
        closed = address.endswith(("/add/", "/delete/")) and not may_add
        expected = 302 if "password_change" in address else 403 if closed else 200
        assert client.get(address).status_code == expected, address
    assert state() == before


def test_posts_need_a_csrf_token(rows: dict[type, object], mod: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(mod)
    for address in addresses(rows):
        assert client.post(address, {"confirmed": "1"}).status_code == 403, address


def test_signing_in_is_the_portals_own(client: Client, db: None) -> None:
    there = client.get("/admin/servers/server/", follow=True)
    assert there.redirect_chain[-1][0] == "/accounts/login/?next=/admin/servers/server/"


def test_signing_out_takes_a_post_and_ends_the_session(client: Client, mod: User) -> None:
    client.force_login(mod)
    assert client.get("/admin/logout/").status_code == 405
    assert client.post("/admin/logout/").status_code == 302
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("hidden", ["django_q_ormq", "django_q_schedule", "account_emailaddress", "auth_group"])
def test_what_is_not_for_people_is_not_there(hidden: str) -> None:
    with pytest.raises(NoReverseMatch):
        reverse(f"admin:{hidden}_changelist")
