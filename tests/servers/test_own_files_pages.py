"""Config files by hand on their pages and in the API: who may, what is said, what is kept of what was typed."""

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.models import User
from servers.models import FileChange, Membership, Right, Server, ServerFile
from servers.provenance import below
from servers.services.own_files import MOST_FILES
from tests.api import Api
from tests.servers.test_own_files import write

SECRET = "0123456789abcdef"
PAGES = ["own-files/", "own-files/file/", "own-files/file/?path=server.cfg", "parts/own-files/"]


def test_a_stranger_finds_nothing_and_a_member_needs_the_right(
    client: Client, server: Server, alice: User, bob: User, charlie: User, share
) -> None:
    membership = share(bob, Right.SETTINGS, Right.RCON)
    form = {"path": "motd.txt", "text": "x", "was": ""}
    for path in PAGES:
        url = f"/servers/{server.name}/{path}"
        client.logout()
        assert client.get(url).headers["Location"].startswith("/accounts/login/")
        for user, status in ((charlie, 404), (bob, 403)):
            client.force_login(user)
            assert client.get(url).status_code == status
            if "/file/" in url:
                assert client.post(url, form).status_code == status
    client.force_login(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert client.post(f"/servers/{server.name}/own-files/file/", form).headers["Location"].startswith("/accounts/")
    assert not ServerFile.objects.exists()
    membership.rights.append(Right.FILES)
    membership.save()
    client.force_login(bob)
    assert [client.get(f"/servers/{server.name}/{path}").status_code for path in PAGES] == [200] * len(PAGES)
    assert client.post(f"/servers/{server.name}/own-files/file/", form).status_code == 302
    assert ServerFile.objects.get().updated_by == bob


def test_the_generated_part_is_shown_without_any_password(client: Client, server: Server, bob: User, share) -> None:
    share(bob, Right.FILES, Right.SETTINGS)
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": SECRET}, settings={"password": "geheim"})
    client.force_login(bob)
    page = client.get(f"/servers/{server.name}/own-files/file/?path=server.cfg").content.decode()
    assert "sv_password &quot;•••&quot;\nsv_tags &quot;practice,left4me&quot;\nrcon_password &quot;•••&quot;" in page
    assert SECRET not in page
    assert "geheim" not in page


def test_what_was_written_by_hand_and_what_the_settings_make_are_two_rights(
    client: Client, server: Server, alice: User, bob: User, charlie: User, share
) -> None:
    share(bob, Right.SETTINGS)
    share(charlie, Right.FILES)
    Server.objects.filter(pk=server.pk).update(secrets={"rcon": SECRET}, settings={"tags": "of-settings"})
    write(alice, server, "server.cfg", 'sv_tags "written-so"')
    write(alice, server, "motd.txt", "also-so")
    diff = {"diff": "@@ -1,1 +1,1 @@\n-sv_tags of-settings\n+x", "kind": FileChange.Kind.CHANGED}
    server.file_changes.create(path="server.cfg", below=below.CONFIG, **diff)
    server.file_changes.create(path="a.cfg", below="A layer", **diff)
    at, settings = f"/servers/{server.name}", Api(bob)("get", f"/servers/{server.name}")
    client.force_login(bob)
    for path in ("settings/", "parts/truth/", "settings/files/"):
        page = client.get(f"{at}/{path}").content.decode()
        assert "of-settings" in page
        assert "by hand" in page
        assert not [text for text in ("written-so", "also-so", "motd.txt") if text in page]
    assert settings.json()["settings"] == {"tags": "of-settings"}
    client.force_login(charlie)
    page = client.get(f"{at}/own-files/file/?path=server.cfg").content.decode()
    assert "written-so" in page
    assert "of-settings" not in page
    asks = Api(charlie)
    assert asks("get", at).json()["settings"] is None
    for path, shown in (("server.cfg", False), ("a.cfg", True)):
        assert ("of-settings" in client.get(f"{at}/changes/file/?path={path}").content.decode()) is shown
        assert ("of-settings" in asks("get", f"{at}/changes/diff?path={path}").json()["diff"]) is shown
    Membership.objects.update(rights=["files", "settings", "view"])
    assert "of-settings" in client.get(f"{at}/changes/file/?path=server.cfg").content.decode()
    assert "written-so" in client.get(f"{at}/settings/files/").content.decode()


def test_a_text_that_does_not_fit_is_given_back_with_every_reason(client: Client, server: Server, alice: User) -> None:
    client.force_login(alice)
    form = {"path": "cfg/x.cfg", "text": "hostname Zoë\r\nrcon_password <b>", "was": ""}
    answer = client.post(f"/servers/{server.name}/own-files/file/", form)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Line 1, column 12: “ë” is not plain ASCII" in page
    assert "Line 2, column 1: rcon_password is for the portal alone to set" in page
    assert "hostname Zoë\r\nrcon_password &lt;b&gt;</textarea>" in page
    form |= {"path": "elsewhere.cfg", "text": "x"}
    answer = client.post(f"/servers/{server.name}/own-files/file/", form)
    assert answer.status_code == 422
    assert "takes files by hand only at" in answer.content.decode()


def test_two_who_edit_one_file_at_once_lose_nothing(client: Client, server: Server, alice: User, bob: User) -> None:
    url = f"/servers/{server.name}/own-files/file/?path=motd.txt"
    seen = write(alice, server, "motd.txt", "one").version
    write(bob, server, "motd.txt", "bob's <text>")
    client.force_login(alice)
    form = {"path": "motd.txt", "text": "alice's text", "was": seen}
    answer = client.post(url, form)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "bob saved it since you opened it" in page
    assert "bob&#x27;s &lt;text&gt;" in page
    assert "alice&#x27;s text</textarea>" in page
    assert server.own_files.get().text == "bob's <text>"
    again = form | {"was": server.own_files.get().version}
    assert f'value="{again["was"]}"' in page
    assert client.post(url, again).status_code == 302
    assert server.own_files.get().text == "alice's text"
    server.own_files.get().delete()
    answer = client.post(url, again)
    assert (answer.status_code, "Somebody deleted it" in answer.content.decode()) == (409, True)
    assert client.post(url, form | {"was": ""}).status_code == 302


def test_it_is_deleted_from_its_page(client: Client, server: Server, alice: User) -> None:
    file = write(alice, server, "server.cfg", "sv_tags x")
    client.force_login(alice)
    url = f"/servers/{server.name}/own-files/file/?path=server.cfg"
    assert "Delete these lines" in client.get(url).content.decode()
    form = {"path": "server.cfg", "text": "ü", "was": file.version, "delete": "1"}
    assert client.post(url, form).status_code == 302
    assert not server.own_files.exists()


def test_pages_cost_the_same_for_as_many_files_as_there_may_be(
    client: Client, server: Server, alice: User, bob: User
) -> None:
    for number in range(MOST_FILES):
        write((alice, bob)[number % 2], server, f"cfg/{number}.cfg", "x" * 1000)
    client.force_login(alice)
    for path in [*PAGES, "own-files/file/?path=cfg/7.cfg", "settings/", "settings/files/", "parts/truth/"]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(f"/servers/{server.name}/{path}").status_code == 200
        assert len(queries) <= 12, path


def test_a_game_whose_definition_went_away_says_so(client: Client, server: Server, alice: User) -> None:
    write(alice, server, "motd.txt", "x")
    Server.objects.filter(pk=server.pk).update(game="gone")
    client.force_login(alice)
    assert "motd.txt" in client.get(f"/servers/{server.name}/own-files/").content.decode()
    page = client.get(f"/servers/{server.name}/own-files/file/?path=motd.txt").content.decode()
    assert "is not defined on this portal any more" in page


# The API


def test_the_api_lists_reads_writes_and_deletes_them(server: Server, alice: User) -> None:
    api, base = Api(alice), f"/servers/{server.name}/own-files"
    assert api("get", base).json() == {"items": [], "next": None}
    written = api("put", f"{base}/cfg/x.cfg", {"text": "a\r\nb"}).json()
    assert (written["text"], written["updated_by"]) == ("a\nb", "alice")
    assert [one["path"] for one in api("get", base).json()["items"]] == ["cfg/x.cfg"]
    assert api("get", f"{base}/cfg/x.cfg").json() == written
    assert api("put", f"{base}/cfg/x.cfg?was=", {"text": "c"}).status_code == 409
    assert api("put", f"{base}/cfg/x.cfg?was={written['version']}", {"text": "c"}).json()["text"] == "c"
    refused = api("put", f"{base}/cfg/x.cfg", {"text": "ü"})
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["text"])
    refused = api("put", f"{base}/practice/world.py", {"text": ""})
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["path"])
    assert api("get", f"{base}/no.cfg").status_code == 404
    assert api("delete", f"{base}/cfg/x.cfg?was={written['version']}").status_code == 409
    assert api("delete", f"{base}/cfg/x.cfg").status_code == 204
    assert api("delete", f"{base}/cfg/x.cfg").status_code == 204


def test_in_the_api_too_they_are_for_who_may_change_files(
    server: Server, alice: User, bob: User, charlie: User, share
) -> None:
    membership, base = share(bob, Right.SETTINGS), f"/servers/{server.name}/own-files"
    calls = [("get", base, None), *((verb, f"{base}/motd.txt", body) for verb, body in VERBS)]
    theirs = Api(bob)
    for api, status in ((Api(), 401), (Api(charlie), 404), (theirs, 403)):
        assert [api(*call).status_code for call in calls] == [status] * 4
    suspended = Api(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    assert [suspended(*call).status_code for call in calls] == [401] * 4
    membership.rights.append(Right.FILES)
    membership.save()
    assert theirs("put", f"{base}/motd.txt", {"text": "x"}).status_code == 200


VERBS = [("get", None), ("put", {"text": "x"}), ("delete", None)]
