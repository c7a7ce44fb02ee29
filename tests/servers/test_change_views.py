"""The pages and the API of a server's changed files and of where its files come from: for whom, and what they say."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers.models import (
    FileChange,
    FileLook,
    Installation,
    InstallationFile,
    Layer,
    LayerBuild,
    LayerFile,
    Right,
    Server,
    StackEntry,
)
from servers.provenance.below import Asked, fingerprint, sources, tree
from tests.api import Api

HTMX = {"HX-Request": "true"}
K = FileChange.Kind
PRACTICE = "Practice (demonstration)"


def page(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def known(server: Server) -> Server:
    """A server whose files are known: a game, two layers over it, and what the server did."""
    version = Installation.objects.create(
        node=server.node, game="practice", version="1", state="ready", is_current=True, file_count=4
    )
    for path in ("a.cfg", "b.cfg", "maps/one.bsp", "maps/two.bsp", "zz"):
        InstallationFile.objects.create(installation=version, path=path, size_bytes=10)
    for number, (name, paths) in enumerate({"Upper": ("a.cfg", "new.cfg"), "Lower": ("a.cfg", "maps/one.bsp")}.items()):
        layer = Layer.objects.create(slug=name.lower(), name=name, game="practice", kind="files", owner=server.owner)
        layer.build = LayerBuild.objects.create(layer=layer, digest=f"{number:064d}", size_bytes=9, file_count=2)
        layer.save()
        for path in paths:
            LayerFile.objects.create(build=layer.build, path=path, size_bytes=20 + number)
        LayerFile.objects.create(build=layer.build, path="in.nut", addon="addons/x.vpk", size_bytes=1)
        StackEntry.objects.create(layer=layer, server=server, position=number)
    server.own_files.create(path="by-hand.cfg")
    for path, kind, more in (
        ("a.cfg", K.CHANGED, {"below": "Upper", "below_bytes": 20, "diff": "@@ -1,1 +1,1 @@\n-<b>\n+new"}),
        ("b.cfg", K.DELETED, {"below": "Practice 1", "below_bytes": 10}),
        ("maps", K.DELETED, {"below": "Lower", "hides": 2}),
        ("logs/1.log", K.ADDED, {}),
    ):
        FileChange.objects.create(server=server, path=path, kind=kind, size_bytes=5, **more)
    over = fingerprint(sources(server, mounted=False))
    FileLook.objects.create(server=server, at=timezone.now(), over=over, remark="")
    return server


def test_each_file_is_shown_with_who_supplies_it_and_what_that_covers(known: Server) -> None:
    found = {one.path: one for one in tree(known, sources(known, mounted=False), Asked())}
    practice = f"{PRACTICE} 1"
    shown = {
        path: ([name for name, _ in one.suppliers], [name for name, _ in one.covered], one.is_gone, one.size)
        for path, one in found.items()
    }
    assert {path: shown[path] for path in ("a.cfg", "b.cfg", "maps/one.bsp", "maps/two.bsp", "new.cfg", "zz")} == {
        "a.cfg": (["The server itself", "Upper", "Lower", practice], ["Upper", "Lower", practice], False, 5),
        "b.cfg": ([practice], [practice], True, None),
        "maps/one.bsp": (["Lower", practice], ["Lower", practice], True, None),
        "maps/two.bsp": ([practice], [practice], True, None),
        "new.cfg": (["Upper"], [], False, 20),
        "zz": ([practice], [], False, 10),
    }
    assert "in.nut" not in found
    assert found["by-hand.cfg"].suppliers == [("Settings and config files", None)]
    assert "maps" not in found
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked(text="MAPS/O"), ["maps/one.bsp"]),
        (Asked(text="100%_"), []),
        (Asked(under="maps/"), ["maps/one.bsp", "maps/two.bsp"]),
        (Asked(under="maps/", after="maps/one.bsp"), ["maps/two.bsp"]),
        (Asked(place=2), ["new.cfg"]),
        (Asked(place=0, text="cfg"), ["a.cfg", "b.cfg"]),
        (Asked(contested=True, under="maps/"), ["maps/one.bsp"]),
        (Asked(after="by-hand.cfg", limit=2), ["logs/1.log", "maps/one.bsp"]),
    ],
)
def test_the_list_is_searched_narrowed_and_read_on(known: Server, asked: Asked, expected: list[str]) -> None:
    assert [one.path for one in tree(known, sources(known, mounted=False), asked)] == expected


def test_the_list_of_add_ons_comes_from_the_config_where_a_layer_has_one(known: Server) -> None:
    def suppliers() -> list[str]:
        found = tree(known, sources(known, mounted=False), Asked(text="addonlist"))
        return [name for one in found for name, _ in one.suppliers]

    Server.objects.filter(pk=known.pk).update(game="left4dead2")
    known.refresh_from_db()
    build = LayerBuild.objects.first()
    LayerFile.objects.create(build=build, path="left4dead2/addons/readme.txt", size_bytes=1)
    assert suppliers() == []
    LayerFile.objects.create(build=build, path="left4dead2/addons/x.VPK", size_bytes=1)
    assert suppliers() == ["Settings and config files"]


def test_a_running_server_is_shown_with_what_it_was_started_on(known: Server) -> None:
    old = Installation.objects.create(node=known.node, game="practice", version="0", state="ready")
    Server.objects.filter(pk=known.pk).update(unit="running", installation=old, mounted=["1".zfill(64)])
    known.refresh_from_db()
    assert [source.name for source in sources(known, mounted=True)][1:] == ["Lower", f"{PRACTICE} 0"]
    assert [source.name for source in sources(known, mounted=False)][1:] == ["Upper", "Lower", f"{PRACTICE} 1"]


def test_the_pages_are_for_who_may_see_files(
    client: Client, alice: User, bob: User, charlie: User, mod: User, known: Server, share
) -> None:
    base = f"/servers/{known.name}"
    reads = ["changes/", "parts/changes/", "changes/file/?path=a.cfg", "files/"]
    writes = ["changes/look/", "changes/revert/", "changes/keep/"]

    def answers() -> set[int]:
        got = {client.get(f"{base}/{path}").status_code for path in reads}
        return got | {client.post(f"{base}/{path}", {"path": "a.cfg"}, headers=HTMX).status_code for path in writes}

    assert answers() == {302, 401}
    client.force_login(charlie)
    assert answers() == {404}
    share(bob, Right.SETTINGS, Right.POWER)
    client.force_login(bob)
    assert answers() == {403}
    User.objects.filter(pk=charlie.pk).update(suspended_at=timezone.now())
    client.force_login(charlie)
    assert answers() == {302, 401}
    assert not Job.objects.exists()
    assert not known.file_reverts.exists()
    for user in (alice, mod):
        client.force_login(user)
        assert answers() == {200, 204}


def test_what_changed_is_told_with_its_diff(client: Client, alice: User, known: Server) -> None:
    client.force_login(alice)
    shown = page(client, f"/servers/{known.name}/changes/")
    for text in ("a.cfg", "b.cfg", "a folder of 2 files", "Bring back", "Revert all 3"):
        assert text in shown
    assert "1.log" not in shown
    assert "1.log" in page(client, f"/servers/{known.name}/changes/?kind=added")
    assert "The layers below are others now" not in shown
    one = page(client, f"/servers/{known.name}/changes/file/?path=a.cfg")
    assert '<span class="out">-&lt;b&gt;</span>' in one
    assert client.get(f"/servers/{known.name}/changes/file/?path=a%01").status_code == 404
    known.stack.filter(position=0).delete()
    assert "The layers below are others now" in page(client, f"/servers/{known.name}/changes/")


def test_a_revert_comes_at_once_or_at_the_next_start(client: Client, alice: User, known: Server) -> None:
    client.force_login(alice)
    base = f"/servers/{known.name}/changes"
    assert client.post(f"{base}/revert/", {"path": "b.cfg"}).headers["Location"] == f"{base}/"
    assert Job.objects.get().kind == "servers.revert_files"
    Server.objects.filter(pk=known.pk).update(unit="running")
    answer = client.post(f"{base}/revert/", {"path": "a.cfg"}, headers=HTMX)
    assert "at the next start" in answer.headers["HX-Trigger"]
    assert Job.objects.count() == 1
    shown = page(client, f"{base}/")
    assert "2 of them are reverted at the next start" in shown
    assert client.post(f"{base}/keep/", headers=HTMX).status_code == 204
    assert "next start" not in page(client, f"{base}/?kind=added")
    assert client.post(f"{base}/revert/", {"path": "no"}, headers=HTMX).status_code == 409


def test_everything_is_reverted_where_it_says_what_is_lost(client: Client, alice: User, known: Server) -> None:
    client.force_login(alice)
    base = f"/servers/{known.name}/changes"
    for kind in ("changed", "added", "same"):
        shown = page(client, f"{base}/?kind={kind}")
        assert "also the files that it added, such as saves, logs and plugins’ data" in shown
        assert '<input type="hidden" name="everything" value="1">' in shown
    Server.objects.filter(pk=known.pk).update(unit="running")
    answer = client.post(f"{base}/revert/", {"everything": "1"}, headers=HTMX)
    assert "at the next start" in answer.headers["HX-Trigger"]
    shown = page(client, f"{base}/")
    assert "All that the server itself wrote is deleted at the next start" in shown
    assert "Keep them all" in shown
    assert 'name="everything"' not in shown
    assert "Bring back" not in shown, "that would be of no use"
    assert "All that the server itself wrote" in page(client, f"{base}/file/?path=a.cfg")
    assert client.post(f"{base}/keep/", headers=HTMX).status_code == 204
    assert "is deleted at the next start" not in page(client, f"{base}/")
    Server.objects.filter(pk=known.pk).update(unit="stopped")
    assert client.post(f"{base}/revert/", {"everything": "1"}).headers["Location"] == f"{base}/"
    assert Job.objects.get().kind == "servers.revert_files"
    assert [one.path for one in known.file_reverts.all()] == ["."]


def test_what_nobody_has_looked_at_can_be_reverted_too(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    base = f"/servers/{server.name}/changes"
    assert 'name="everything"' not in page(client, f"{base}/"), "it has written nothing"
    Server.objects.filter(pk=server.pk).update(disk_bytes=1, unit="running")
    assert 'name="everything"' in page(client, f"{base}/")
    client.post(f"{base}/revert/", {"everything": "1"})
    assert "is deleted at the next start" in page(client, f"{base}/")


def test_the_pages_cost_few_queries_however_many_files(client: Client, alice: User, known: Server) -> None:
    version = Installation.objects.get()
    InstallationFile.objects.bulk_create(
        InstallationFile(installation=version, path=f"left4dead2/d{n % 97}/f{n}.vmt", size_bytes=n)
        for n in range(30_000)
    )
    FileChange.objects.bulk_create(
        FileChange(server=known, path=f"left4dead2/d{n}/f{n}.vmt", kind=K.CHANGED, below="x") for n in range(3000)
    )
    client.force_login(alice)
    base = f"/servers/{known.name}"
    for path in ("files/", "files/?text=f29999", "files/?from=0", "files/?after=left4dead2/d5/", "changes/"):
        with CaptureQueriesContext(connection) as queries:
            page(client, f"{base}/{path}")
        assert len(queries) <= 12, [query["sql"] for query in queries]
    with CaptureQueriesContext(connection) as queries:
        page(client, f"{base}/changes/file/?path=a.cfg")
    assert len(queries) <= 12


def test_programs_read_changes_page_by_page_and_revert_them(alice: User, known: Server) -> None:
    api, base = Api(alice), f"/servers/{known.name}/changes"
    first = api("get", f"{base}?limit=3").json()
    second = api("get", f"{base}?limit=3&cursor={first['next']}").json()
    assert {one["path"]: one["kind"] for one in first["items"] + second["items"]} == {
        "a.cfg": "changed", "b.cfg": "deleted", "maps": "deleted", "logs/1.log": "added",
    }  # fmt: skip
    assert first["looked_at"]
    assert api("get", f"{base}/diff?path=a.cfg").json()["diff"].endswith("+new")
    assert api("get", f"{base}/diff?path=no%01").status_code == 404
    assert api("post", f"{base}/look").status_code == 202
    assert api("post", f"{base}/revert", {"paths": ["a.cfg", "\x01"]}).status_code == 409
    job = api("post", f"{base}/revert", {"paths": ["a.cfg"]}).json()["job"]
    assert Job.objects.get(pk=job).kind == "servers.revert_files"
    Server.objects.filter(pk=known.pk).update(unit="running")
    assert api("post", f"{base}/revert", {}).json() == {"job": None}
    assert known.file_reverts.count() == 3
    assert api("post", f"{base}/keep", {"paths": ["a.cfg"]}).status_code == 204
    assert known.file_reverts.count() == 2


def test_programs_revert_everything_where_they_say_so_and_name_nothing(alice: User, known: Server) -> None:
    api, url = Api(alice), f"/servers/{known.name}/changes/revert"
    for wrong in ({"everything": True, "paths": ["a.cfg"]}, {"everything": "yes"}, {"everything": 1}):
        answer = api("post", url, wrong)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, ["everything"])
    assert api("post", url, {"paths": ["."]}).status_code == 409
    assert not known.file_reverts.exists()
    job = api("post", url, {"everything": True, "paths": None}).json()["job"]
    assert Job.objects.get(pk=job).kind == "servers.revert_files"
    assert [one.path for one in known.file_reverts.all()] == ["."]
    assert api("post", f"/servers/{known.name}/changes/keep", {}).status_code == 204
    assert not known.file_reverts.exists()


def test_programs_of_others_see_and_change_nothing(bob: User, charlie: User, known: Server, share) -> None:
    base = f"/servers/{known.name}/changes"
    share(bob, Right.POWER)
    for api, status in ((Api(), 401), (Api(charlie), 404), (Api(bob), 403)):
        for method, path in (("get", ""), ("get", "/diff?path=a.cfg"), ("post", "/look")):
            assert api(method, f"{base}{path}").status_code == status
        for verb, body in (("revert", {}), ("revert", {"everything": True}), ("keep", {})):
            assert api("post", f"{base}/{verb}", body).status_code == status
    assert not Job.objects.exists()
    assert not known.file_reverts.exists()
