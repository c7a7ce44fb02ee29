"""Sharing a server over the HTTP API."""

from collections.abc import Callable

from portal.models import User
from servers.models import Membership, Right, Server
from tests.api import Api

PATH = "/servers/alices-practice/members"


def test_the_owner_gives_changes_and_takes_rights(server: Server, alice: User, bob: User) -> None:
    asks = Api(alice)
    given = asks("post", PATH, {"username": "BOB", "rights": ["power", "console"]})
    assert given.json() == {"username": "bob", "rights": ["console", "power", "view"]}
    assert asks("get", PATH).json() == {"items": [given.json()], "next": None}
    assert asks("post", PATH, {"username": "bob", "rights": ["view"]}).json()["rights"] == ["view"]
    assert asks("delete", f"{PATH}/bob").status_code == 204
    assert not Membership.objects.exists()


def test_nobody_gives_a_right_they_lack(
    server: Server, bob: User, charlie: User, share: Callable[..., Membership]
) -> None:
    share(bob, Right.MEMBERS)
    refused = Api(bob)("post", PATH, {"username": "charlie", "rights": ["rcon"]})
    assert refused.status_code == 422
    assert "You lack: rcon" in refused.json()["errors"]["rights"][0]
    assert not Membership.objects.filter(user=charlie).exists()


def test_a_member_may_leave(server: Server, bob: User, charlie: User, share: Callable[..., Membership]) -> None:
    share(bob)
    share(charlie)
    asks = Api(bob)
    assert asks("delete", f"{PATH}/charlie").status_code == 403
    assert asks("delete", f"{PATH}/bob").status_code == 204
    assert asks("get", "/servers/alices-practice").status_code == 404


def test_a_name_nobody_has_is_told(server: Server, alice: User) -> None:
    asks = Api(alice)
    for name in ("nobody", "a b", "\x01", "é" * 100):
        assert asks("post", PATH, {"username": name, "rights": ["view"]}).json()["detail"] == (
            "Nobody here has that name."
        )


def test_a_stranger_cannot_tell_names_apart(server: Server, bob: User, charlie: User) -> None:
    asks = Api(charlie)
    answers = {asks("delete", f"{PATH}/{name}").json()["detail"] for name in ("bob", "nobody")}
    assert answers == {"There is no such server."}


def test_a_list_costs_the_same_however_long(server: Server, alice: User, django_assert_num_queries) -> None:
    for number in range(50):
        user = User.objects.create_user(f"friend-{number:02}")
        Membership.objects.create(server=server, user=user, rights=["view"])
    asks = Api(alice)
    asks("get", "/me")
    with django_assert_num_queries(5):  # token, server, ports, own membership, members with users
        page = asks("get", f"{PATH}?limit=30").json()
    assert len(page["items"]) == 30
    assert asks("get", f"{PATH}?cursor={page['next']}").json()["items"][0]["username"] == "friend-30"
