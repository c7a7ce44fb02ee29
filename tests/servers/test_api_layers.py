"""Layers and stacks in the HTTP API."""

from portal.models import User
from servers.models import Layer, Right, Server
from tests.api import Api


def layer(owner: User, name: str, visibility: str = "private", game: str = "practice") -> Layer:
    return Layer.objects.create(
        slug=name, name=name, game=game, kind="files", owner=owner, visibility=visibility, source={"files": {"a": "x"}}
    )


def test_one_lists_and_reads_what_one_may_use(alice: User, bob: User) -> None:
    layer(alice, "mine")
    layer(bob, "theirs", "public")
    layer(bob, "secret")
    api = Api(alice)
    assert [one["slug"] for one in api("get", "/layers").json()["items"]] == ["mine", "theirs"]
    assert api("get", "/layers/mine").json()["digest"] is None
    assert api("get", "/layers/secret").status_code == 404
    assert api("post", "/layers/theirs/build").status_code == 403
    assert api("post", "/layers/mine/build").status_code == 202


def test_a_stack_is_read_and_set_as_a_whole(alice: User, bob: User, server: Server) -> None:
    for name in ("one", "two"):
        layer(alice, name)
    layer(bob, "secret")
    layer(alice, "other", game="openarena")
    api, path = Api(alice), f"/servers/{server.name}/layers"
    assert api("get", path).json()["layers"] == []
    assert api("put", path, {"layers": ["two", "one"]}).json()["layers"] == ["two", "one"]
    assert api("put", path, {"layers": ["one", "two", "one"]}).json()["layers"] == ["one", "two"]
    for wrong, status in ((["secret"], 422), (["no-such"], 422), (["other"], 409)):
        assert api("put", path, {"layers": wrong}).status_code == status
    assert api("get", path).json()["layers"] == ["one", "two"]


def test_a_stack_is_for_who_may_change_files(bob: User, charlie: User, server: Server, share) -> None:
    path = f"/servers/{server.name}/layers"
    assert Api(charlie)("get", path).status_code == 404
    membership, api = share(bob), Api(bob)
    assert api("put", path, {"layers": []}).status_code == 403
    membership.rights.append(Right.FILES)
    membership.save()
    assert api("put", path, {"layers": []}).status_code == 200
