"""What moderators do with servers, blueprints and the rest in the admin."""

import json

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Job, Stream
from portal.models import User
from servers import services
from servers.models import AuditEvent, Blueprint, Installation, Membership, Node, Server

SERVERS, BLUEPRINTS = "/admin/servers/server/", "/admin/servers/blueprint/"


@pytest.fixture
def helper(client: Client, db: None) -> Client:
    """A moderator who is no administrator."""
    client.force_login(User.objects.create_user("helper", is_staff=True))
    return client


def choose(client: Client, action: str, *rows: object, at: str = SERVERS, **form: str) -> str:
    sent = {"action": action, "_selected_action": [row.pk for row in rows], **form}  # type: ignore[attr-defined]
    return client.post(at, sent, follow=True).content.decode()


@pytest.mark.parametrize(("action", "kind"), [("stop", "servers.stop"), ("restart", "servers.restart")])
def test_a_press_is_confirmed_and_becomes_a_job(helper: Client, server: Server, action: str, kind: str) -> None:
    assert "Players on it are disconnected" in choose(helper, action, server)
    assert not Job.objects.exists()
    choose(helper, action, server, confirmed="1")
    assert Job.objects.get(kind=kind).requested_by == User.objects.get(username="helper")


def test_a_server_is_given_to_somebody_else(helper: Client, server: Server, bob: User) -> None:
    assert "The former owner keeps no right" in choose(helper, "transfer", server)
    assert "Nobody here is called “nobody”" in choose(helper, "transfer", server, confirmed="1", to="nobody")
    # What follows a sentence is escaped: the apostrophe too.
    assert "alices-practice is bob&#x27;s now." in choose(helper, "transfer", server, confirmed="1", to="Bob")
    server.refresh_from_db()
    assert server.owner == bob


def test_a_refusal_is_told_and_nothing_changes(helper: Client, server: Server, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(suspended_at=timezone.now())
    assert "bob is suspended. Choose somebody else" in choose(helper, "transfer", server, confirmed="1", to="bob")
    assert "is not deleted" in choose(helper, "restore", server, confirmed="1")
    server.refresh_from_db()
    assert server.owner.username == "alice"


def test_a_deleted_server_is_out_of_the_way_until_it_is_restored(helper: Client, server: Server, alice: User) -> None:
    services.delete_server(by=alice, server=server)
    Job.objects.update(state="succeeded", started_at=timezone.now(), finished_at=timezone.now())
    Server.objects.update(put_away_at=timezone.now())
    assert "alices-practice" not in helper.get(SERVERS).content.decode()
    deleted = f"{SERVERS}?deleted=yes"
    assert "alices-practice" in helper.get(deleted).content.decode()
    assert "is being restored" in choose(helper, "restore", server, at=deleted, confirmed="1")
    server.refresh_from_db()
    assert server.deleted_at is None
    assert "alices-practice" in helper.get(SERVERS).content.decode()


def test_a_servers_state_is_no_field_to_edit(helper: Client, server: Server) -> None:
    answer = helper.post(f"{SERVERS}{server.pk}/change/", {"unit": "running", "desired": "run", "owner": "1"})
    assert answer.status_code == 403
    server.refresh_from_db()
    assert (server.unit, server.desired) == ("stopped", "stop")


def test_secrets_are_not_shown(helper: Client, server: Server) -> None:
    Server.objects.update(secrets={"rcon": "open sesame"})
    assert "open sesame" not in helper.get(f"{SERVERS}{server.pk}/change/").content.decode()


def test_what_a_member_wrote_is_text(helper: Client, server: Server) -> None:
    Server.objects.update(query={"ok": True, "players": "<script>", "max_players": 1}, unit="running")
    Server.objects.update(unit_detail="<script>alert(1)</script>")
    for address in (SERVERS, f"{SERVERS}{server.pk}/change/"):
        assert "<script>alert(1)" not in helper.get(address).content.decode()
        assert "<script>/1" not in helper.get(address).content.decode()


def blueprint_form(**change: str) -> dict[str, str]:
    return {"name": "New", "slug": "new", "summary": "", "game": "practice", "settings": "{}", "position": "0"} | change


def test_a_blueprint_is_made_with_settings_its_game_accepts(helper: Client) -> None:
    helper.post(f"{BLUEPRINTS}add/", blueprint_form(settings='{"max_players": "6"}', is_offered="on"))
    assert Blueprint.objects.get(slug="new").settings == {"max_players": 6}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"settings": '{"max_players": 4000}'}, "has to be between"),
        ({"settings": '{"unheard": 1}'}, "has no setting"),
        ({"settings": "[1]"}, "Write the settings as"),
        ({"settings": "{"}, "Enter a valid JSON"),
        ({"game": "nothing"}, "Select a valid choice"),
        ({"slug": "practice"}, "already exists"),
    ],
)
def test_what_does_not_fit_a_blueprint_is_told(
    helper: Client, blueprint: Blueprint, change: dict[str, str], sentence: str
) -> None:
    answer = helper.post(f"{BLUEPRINTS}add/", blueprint_form(**change))
    assert sentence in answer.content.decode()
    assert Blueprint.objects.count() == 1


def test_an_administrator_edits_a_nodes_address_but_not_its_slug(helper: Client, mod: User, node: Node) -> None:
    form = {"name": "Here", "address": "games.example", "query_host": "127.0.0.1", "slug": "other"}
    assert helper.post(f"/admin/servers/node/{node.pk}/change/", form).status_code == 403
    helper.force_login(mod)
    helper.post(f"/admin/servers/node/{node.pk}/change/", form)
    node.refresh_from_db()
    assert (node.name, node.address, node.slug) == ("Here", "games.example", "local")


def test_an_installation_is_updated_by_a_job(helper: Client, node: Node) -> None:
    old = Installation.objects.create(node=node, game="practice", version="1", state="ready")
    assert "Update Practice" in choose(helper, "update_game", old, at="/admin/servers/installation/", confirmed="1")
    assert Job.objects.get().args["update"] is True


def test_lists_cost_the_same_for_fifty_rows(
    helper: Client, server: Server, alice: User, django_assert_max_num_queries
) -> None:
    for number in range(50):
        made = Server.objects.create(
            name=f"server-{number}", owner=alice, node=server.node, game="practice", console=Stream.objects.create()
        )
        AuditEvent.objects.create(actor=alice, server=made, action="create", detail=json.loads("{}"))
        Installation.objects.create(node=server.node, game="practice", version=str(number))
        user = User.objects.create_user(f"user-{number}")
        Membership.objects.create(user=user, server=server, rights=["view"])
    for path in ("server/", "auditevent/", "installation/", f"server/{server.pk}/change/"):
        with django_assert_max_num_queries(9):  # session, user, count, rows, and one for each filter over a relation
            assert helper.get(f"/admin/servers/{path}").status_code == 200
