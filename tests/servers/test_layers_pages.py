"""The pages of layers: who sees and changes what, what they say, and what they cost."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers import access, services
from servers.models import Blueprint, Layer, LayerBuild, LayerFile, Right, Server, StackEntry
from servers.own_file_models import version_of

HTMX = {"HX-Request": "true"}
DIGEST = "0" * 56


def layer(owner: User, name: str, visibility: str = "private", number: int = 0, **values) -> Layer:
    made = Layer.objects.create(
        slug=name.lower(), name=name, game="practice", kind="files", owner=owner, visibility=visibility,
        source={"files": {"motd": "hello"}}, **values,
    )  # fmt: skip
    made.build = LayerBuild.objects.create(layer=made, digest=f"{DIGEST}{number:08d}", size_bytes=5, file_count=1)
    made.save()
    LayerFile.objects.create(build=made.build, path="motd", size_bytes=5)
    return made


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_everybody_sees_public_layers_their_own_and_those_shared_with_them(
    client: Client, alice: User, bob: User, charlie: User, mod: User
) -> None:
    for visibility in ("private", "shared", "public"):
        layer(alice, visibility.capitalize(), visibility).shared_with.add(bob)
    seen = {
        alice: {"Private", "Shared", "Public"},
        bob: {"Shared", "Public"},
        charlie: {"Public"},
        mod: {"Private", "Shared", "Public"},
    }
    for user, expected in seen.items():
        client.force_login(user)
        shown = page(client, "/layers/")
        assert {name for name in seen[alice] if f">{name}<" in shown} == expected
        for one in Layer.objects.all():
            allowed = one.name in expected
            assert access.may_use_layer(user, one) is allowed
            assert client.get(f"/layers/{one.slug}/").status_code == (200 if allowed else 404)
            assert (one.topic in access.FeedPolicy.topics(user)) is allowed


@pytest.mark.parametrize("verb", ["change", "rebuild", "delete", "file", "items"])
def test_only_the_owner_and_moderators_change_a_layer(
    client: Client, alice: User, bob: User, charlie: User, mod: User, verb: str
) -> None:
    layer(alice, "Public", "public")
    private = layer(alice, "Private", number=1)
    seen = {"of": "motd", "was": version_of("hello")}
    form = {"name": "New", "visibility": "public", "path": "motd", "text": "x"} | seen
    assert client.post(f"/layers/public/{verb}/", form).headers["Location"].startswith("/accounts/login/")
    client.force_login(bob)
    assert client.post(f"/layers/public/{verb}/", form).status_code == 403
    assert client.post(f"/layers/private/{verb}/", form).status_code == 404
    assert not Job.objects.exists()
    User.objects.filter(pk=charlie.pk).update(suspended_at=timezone.now())
    client.force_login(charlie)
    assert client.post(f"/layers/public/{verb}/", form).headers["Location"].startswith("/accounts/login/")
    client.force_login(mod)
    answer = client.post(f"/layers/{private.slug}/{verb}/", form)
    assert answer.status_code == (404 if verb == "items" else 302), "it is not from the Workshop"


def test_a_layer_is_written_and_built_from_the_page(client: Client, alice: User) -> None:
    client.force_login(alice)
    form = {"name": "Häppy motd", "game": "practice", "visibility": "private", "path": "cfg/a.cfg", "text": "a\r\nb"}
    answer = client.post("/new-layer/?kind=files", form)
    assert answer.headers["Location"] == "/layers/happy-motd/"
    made = Layer.objects.get()
    assert made.source == {"files": {"cfg/a.cfg": "a\nb"}}
    job = Job.objects.get()
    assert (job.kind, job.subject) == ("layers.build", made.topic)
    assert access.FeedPolicy.may_view_stream(alice, job.stream_id)
    assert "Build Häppy motd" in page(client, "/layers/happy-motd/")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": "ok\nécho"}, "Line 2, column 1: “é” is not plain ASCII"),
        ({"path": "../x.cfg"}, "leads out of its folder"),
        ({"name": ""}, "This field is required"),
        ({"game": "no-such"}, "Select a valid choice"),
        ({"text": "x" * (1 << 20) + "y"}, "can be written here"),
    ],
)
def test_what_does_not_fit_is_told_and_makes_nothing(client: Client, alice: User, given, sentence: str) -> None:
    client.force_login(alice)
    form = {"name": "New", "game": "practice", "visibility": "private", "path": "cfg/a.cfg", "text": "x"}
    answer = client.post("/new-layer/?kind=files", form | given)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Layer.objects.exists()


def test_a_file_is_edited_and_deleted_but_never_the_last(client: Client, alice: User) -> None:
    made = layer(alice, "Mine")
    client.force_login(alice)
    assert "hello" in page(client, "/layers/mine/file/?path=motd")
    client.post("/layers/mine/file/", {"path": "b.cfg", "text": "two"})
    seen = {"of": "motd", "was": version_of("hello")}
    client.post("/layers/mine/file/", {"path": "motd", "text": "", "delete": "1"} | seen)
    made.refresh_from_db()
    assert made.source == {"files": {"b.cfg": "two"}}
    seen = {"of": "b.cfg", "was": version_of("two")}
    answer = client.post("/layers/mine/file/", {"path": "b.cfg", "text": "", "delete": "1"} | seen)
    assert "needs one file" in answer.content.decode()


def test_who_uses_a_layer_names_only_servers_one_may_see(
    client: Client, alice: User, bob: User, server: Server, blueprint: Blueprint
) -> None:
    made = layer(bob, "Bobs", "public")
    for holder in (server, blueprint):
        services.add_to_stack(by=bob, holder=holder, layer=made)
    client.force_login(bob)
    shown = page(client, "/layers/bobs/")
    assert "alices-practice" not in shown
    assert "1 server that you cannot see" in shown
    assert "the blueprint Practice" in shown
    answer = client.post("/layers/bobs/delete/", follow=True)
    assert "is in use by" in answer.content.decode()
    client.force_login(alice)
    assert "alices-practice" in page(client, "/layers/bobs/")


def test_the_stack_is_for_who_may_change_files(
    client: Client, alice: User, bob: User, charlie: User, server: Server, share
) -> None:
    made = layer(alice, "Mine", "public")
    base = f"/servers/{server.name}/layers/"
    assert client.get(base).status_code == 302
    for user, status in ((charlie, 404), (alice, 200)):
        client.force_login(user)
        assert client.get(base).status_code == status
        assert client.get(f"{base}part/").status_code == status
        assert client.post(f"{base}add/", {"layer": "mine"}, headers=HTMX).status_code in (status, 204)
        for verb in ("move", "remove"):
            answer = client.post(f"{base}{made.pk}/{verb}/", {"to": "0"}, headers=HTMX)
            assert answer.status_code in (status, 204)
    membership = share(bob)
    client.force_login(bob)
    assert client.get(base).status_code == 403
    membership.rights.append(Right.FILES)
    membership.save()
    assert client.get(base).status_code == 200


def test_nobody_puts_a_layer_on_a_stack_that_they_may_not_use(
    client: Client, alice: User, bob: User, server: Server
) -> None:
    layer(bob, "Secret")
    client.force_login(alice)
    answer = client.post(f"/servers/{server.name}/layers/add/", {"layer": "secret"}, headers=HTMX)
    assert answer.status_code == 409
    assert not StackEntry.objects.exists()


def test_blueprints_stacks_are_for_moderators(client: Client, alice: User, mod: User, blueprint: Blueprint) -> None:
    layer(alice, "Mine", "public")
    base = f"/blueprints/{blueprint.slug}/layers/"
    client.force_login(alice)
    assert client.get(base).status_code == 403
    client.force_login(mod)
    assert "Mine" in page(client, base)
    assert client.post(f"{base}add/", {"layer": "mine"}).headers["Location"] == base
    assert blueprint.stack.count() == 1


def test_a_file_that_two_supply_is_told_uppermost_first(client: Client, alice: User, server: Server) -> None:
    for number, name in enumerate(("Lower", "Upper")):
        services.add_to_stack(by=alice, holder=server, layer=layer(alice, name, number=number))
    client.force_login(alice)
    shown = page(client, f"/servers/{server.name}/layers/")
    assert "2 supply it: Upper, Lower. The upper one wins." in shown
    upper = Layer.objects.get(name="Upper")
    services.move_in_stack(by=alice, holder=server, layer=upper.pk, to=1)
    assert "2 supply it: Lower, Upper." in page(client, f"/servers/{server.name}/layers/")
    services.remove_from_stack(by=alice, holder=server, layer=upper.pk)
    assert "supply it" not in page(client, f"/servers/{server.name}/layers/")


def test_a_file_inside_two_add_ons_is_told_with_the_add_ons(client: Client, alice: User, server: Server) -> None:
    for number, name in enumerate(("Lower", "Upper")):
        made = layer(alice, name, number=number)
        made.build.files.all().delete()
        for path in ("scripts/a.nut", f"scripts/only-{number}.nut"):
            LayerFile.objects.create(build=made.build, path=path, addon=f"addons/{number}.vpk", size_bytes=1)
        services.add_to_stack(by=alice, holder=server, layer=made)
    client.force_login(alice)
    shown = page(client, f"/servers/{server.name}/layers/")
    assert "2 supply it: Upper (addons/1.vpk), Lower (addons/0.vpk). The game takes it from" in shown
    assert "only-1" not in shown


def test_pages_cost_few_queries_however_many_layers(client: Client, alice: User, server: Server) -> None:
    for number in range(90):
        StackEntry.objects.create(layer=layer(alice, f"L{number}", number=number), server=server, position=number)
    client.force_login(alice)
    for path, most in (("/layers/", 8), ("/layers/l1/", 12), (f"/servers/{server.name}/layers/", 12)):
        page(client, path)  # what a stack's builds do to each other is computed once
        with CaptureQueriesContext(connection) as queries:
            page(client, path)
        assert len(queries) <= most, [query["sql"] for query in queries]
