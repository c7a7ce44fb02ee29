"""Layers on a real host: uploaded in pieces through the proxy, built by the worker, seen by the game at its start."""

import hashlib
import io
import json
import re
import zipfile

import pytest

from tests.deploy.installed import Installed, _csrf
from tests.stack import wait_for

pytestmark = pytest.mark.host
NAME = "layered"
MERGED = f"/var/lib/left4me/runtime/{NAME}/merged"


def upload(portal: Installed, name: str, content: bytes) -> str:
    """The key of a finished upload, sent in two pieces as the page's script does."""
    token = _csrf(portal.http.get("/new-layer/"))["csrfmiddlewaretoken"]
    headers = {"X-CSRFToken": token, "Authorization": ""}
    begun = portal.http.post("/uploads/", json={"name": name, "size": len(content)}, headers=headers)
    assert begun.status_code == 201, begun.text
    place, half = f"/uploads/{begun.json()['key']}/", len(content) // 2
    for offset, piece in ((0, content[:half]), (half, content[half:])):
        sent = portal.http.put(f"{place}?offset={offset}", content=piece, headers=headers)
        assert sent.json()["offset"] == offset + len(piece), sent.text
    ended = portal.http.post(place, json={"sha256": hashlib.sha256(content).hexdigest()}, headers=headers)
    assert ended.status_code == 204, ended.text
    return str(begun.json()["key"])


def make_layer(portal: Installed, kind: str, **fields: str) -> str:
    """Slug of a built layer of the practice game."""
    page = portal.http.get(f"/new-layer/?kind={kind}")
    given = {"game": "practice", "visibility": "private"} | fields | _csrf(page)
    answer = portal.http.post(f"/new-layer/?kind={kind}", data=given)
    found = re.search(r"/layers/([\w-]+)/$", str(answer.url))
    assert found, answer.text
    slug = found[1]
    wait_for(lambda: portal.api("GET", f"/layers/{slug}")["digest"], seconds=60, what=f"the build of {slug}")
    return slug


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


def test_the_game_sees_the_layers_in_their_order_and_the_doctor_proves_it(portal: Installed) -> None:
    key = upload(portal, "addon.zip", zipped(both="from the archive", archived="x"))
    lower = make_layer(portal, "archive", name="From an archive", upload_key=key)
    upper = make_layer(portal, "files", name="Written by hand", path="both", text="written by hand")
    portal.api("POST", "/servers", name=NAME, blueprint="practice")
    portal.http.put(f"/api/v1/servers/{NAME}/layers", json={"layers": [upper, lower]}).raise_for_status()
    portal.power(NAME, "start")

    inside = f"/proc/{portal.main_pid(NAME)}/root{MERGED}"
    assert portal.host.sh(f"cat {inside}/both; echo; cat {inside}/archived").stdout == "written by hand\nx"
    found = json.loads(portal.host.run("left4me", "doctor", "--json").stdout)["checks"]
    assert [check["state"] for check in found if check["name"] == f"mount of {NAME}"] == ["ok"]

    portal.http.put(f"/api/v1/servers/{NAME}/layers", json={"layers": [lower, upper]}).raise_for_status()
    portal.power(NAME, "restart")
    inside = f"/proc/{portal.main_pid(NAME)}/root{MERGED}"
    assert portal.host.sh(f"cat {inside}/both").stdout == "from the archive"
    portal.power(NAME, "stop")


def test_what_the_game_changed_of_a_layer_is_found_and_reverted(portal: Installed) -> None:
    layer = make_layer(portal, "files", name="Bans", path="bans", text="nobody")
    portal.api("POST", "/servers", name="banning", blueprint="practice")
    portal.http.put("/api/v1/servers/banning/layers", json={"layers": [layer]}).raise_for_status()
    portal.power("banning", "start")
    merged = MERGED.replace(NAME, "banning")
    portal.host.run("sh", "-c", f"printf ' but him' >> {merged}/bans", user="left4me-game")
    portal.host.run("rm", f"{merged}/practice/__init__.py", user="left4me-game")
    digest = portal.api("GET", f"/layers/{layer}")["digest"]
    assert portal.host.sh(f"cat /var/lib/left4me/layers/{digest}/bans").stdout == "nobody", "layers never change"

    portal.job(portal.api("POST", "/servers/banning/changes/look")["job"])
    changes = {one["path"]: one["kind"] for one in portal.api("GET", "/servers/banning/changes")["items"]}
    assert (changes["bans"].lower(), changes["practice/__init__.py"].lower()) == ("changed", "deleted")
    assert "+nobody but him" in portal.api("GET", "/servers/banning/changes/diff?path=bans")["diff"]
    assert portal.api("POST", "/servers/banning/changes/revert", paths=None) == {"job": None}, (
        "it runs: at its next start"
    )
    portal.power("banning", "restart")
    assert portal.host.sh(f"cat {merged}/bans; ls {merged}/practice/__init__.py").stdout.startswith("nobody/")
    portal.power("banning", "stop")


def test_a_layer_that_was_built_cannot_be_written_by_the_game(portal: Installed) -> None:
    built = portal.host.sh("find /var/lib/left4me/layers -mindepth 1 -maxdepth 1 -type d").stdout.split()
    assert built
    for folder in built:
        assert portal.host.run("touch", f"{folder}/new", user="left4me-game", check=False).returncode != 0
