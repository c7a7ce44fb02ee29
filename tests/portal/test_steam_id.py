"""The page of a member's Steam id, what it takes, and what the database keeps."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from portal.models import User
from servers.models import AuditEvent, Right, Server

PAGE = "/accounts/steam-id/"
NUMBER = 76561197960287930


def test_a_member_notes_their_steam_id_and_takes_it_away(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.post(PAGE, {"steam_id": "STEAM_1:0:11101"}).headers["Location"] == PAGE
    alice.refresh_from_db()
    assert alice.steam_id == NUMBER
    shown = client.get(PAGE).content.decode()
    assert f'value="{NUMBER}"' in shown and "Left 4 Dead 2" in shown
    client.post(PAGE, {"steam_id": ""})
    alice.refresh_from_db()
    assert alice.steam_id is None
    assert [event.detail["steam_id"] for event in AuditEvent.objects.filter(action="steam id")] == [None, NUMBER]


def test_a_wrong_one_is_told_and_stays_typed(client: Client, alice: User) -> None:
    client.force_login(alice)
    answer = client.post(PAGE, {"steam_id": "https://steamcommunity.com/id/alice"})
    assert answer.status_code == 422
    shown = answer.content.decode()
    assert "has a name in it and no number" in shown
    assert 'value="https://steamcommunity.com/id/alice"' in shown
    alice.refresh_from_db()
    assert alice.steam_id is None


def test_strangers_and_the_suspended_get_no_page(client: Client, charlie: User) -> None:
    assert client.get(PAGE).headers["Location"].startswith("/accounts/login/")
    User.objects.filter(pk=charlie.pk).update(suspended_at=timezone.now())
    client.force_login(charlie)
    assert client.post(PAGE, {"steam_id": str(NUMBER)}).headers["Location"].startswith("/accounts/login/")
    charlie.refresh_from_db()
    assert charlie.steam_id is None


def test_two_members_may_name_the_same_account_since_nobody_proves_it_is_theirs(alice: User, bob: User) -> None:
    User.objects.update(steam_id=NUMBER)


@pytest.mark.parametrize("number", [0, 76561197960265728, 76561202255233024])
def test_the_database_keeps_only_peoples_accounts(alice: User, number: int) -> None:
    with pytest.raises(IntegrityError, match="user_steam_id_of_a_person"), transaction.atomic():
        User.objects.update(steam_id=number)


def test_the_people_of_a_server_say_what_their_rights_are_worth_in_the_game(
    client: Client, alice: User, bob: User, charlie: User, server, share
) -> None:
    User.objects.filter(pk=bob.pk).update(steam_id=NUMBER)
    share(bob, Right.POWER)
    share(charlie, Right.CONSOLE)
    client.force_login(alice)
    for path in (f"/servers/{server.name}/people/", f"/servers/{server.name}/parts/people/"):
        shown = client.get(path).content.decode()
        for words in ("<code>bg</code>", "nothing without a Steam id", "nothing</p>"):
            assert f"In the game: {words}" in shown
    assert "admins_simple.ini" in client.get(f"/servers/{server.name}/people/").content.decode()


def test_a_game_without_such_a_file_says_nothing_of_rights_inside_it(
    client: Client, alice: User, bob: User, server: Server, share
) -> None:
    share(bob, Right.POWER)
    Server.objects.filter(pk=server.pk).update(game="openarena")
    client.force_login(alice)
    shown = client.get(f"/servers/{server.name}/people/").content.decode()
    assert "bob" in shown
    assert "In the game" not in shown
    assert "inside the game" not in shown
    assert "OpenArena" not in client.get(PAGE).content.decode()
