"""Disks that are really full: everybody is told so in a sentence, and all works again once there is room."""

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from jobs.full_disk import SENTENCE, is_full
from jobs.models import Job
from portal import tokens
from portal.models import User
from portal.outages import server_error
from servers import services
from servers.models import Layer, Node, Server, ServerFile, Upload
from servers.runtime import get_runtime
from tests.servers.archives import zipped
from tests.servers.living import settled, state_of

MIB = 1 << 20
JSON = "application/json"
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="a small disk is mounted, which needs root"
)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Until it is left, there is no room on the disk at all."""
    filler = disk / ".filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (64 << 10, 1):
            with suppress(OSError):
                while file.write(bytes(piece)):
                    pass
    assert not shutil.disk_usage(disk).free
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def disk(portal, settings) -> Iterator[Path]:
    """The portal's own, of 160 MB; whatever runs ends before it goes."""
    with small_disk(settings.STATE_DIR, "160m") as made:
        yield made
        for name in list(portal.processes):
            portal.stop(name)
        for server in Server.objects.all():
            get_runtime().stop(server.name)


def test_a_piece_of_an_upload_arrives_where_there_is_no_room_for_scratch_files(
    portal, client: Client, alice: User, tmp_path: Path
) -> None:
    client.force_login(alice)
    upload = services.begin_upload(by=alice, filename="a.zip", size=8 * MIB)
    with small_disk(tmp_path / "scratch", "20m") as scratch:
        portal.environment["TMPDIR"] = str(scratch)
        base = portal.start_web()
        cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": "a" * 32}
        with httpx.Client(base_url=base, cookies=cookies, headers={"X-CSRFToken": "a" * 32, "Accept": JSON}) as browser:
            browser.put(f"/uploads/{upload.pk}/?offset=1", content=bytes(4 * MIB))  # so that it knows the place
            with filled(scratch):
                answer = browser.put(f"/uploads/{upload.pk}/?offset=0", content=bytes(8 * MIB))
                assert (answer.status_code, answer.text) == (200, '{"offset": 8388608}')
        portal.stop("web")


def sign_in(client: Client, user: User) -> dict[str, str]:
    client.force_login(user)
    return {"Authorization": f"Bearer {tokens.create_token(user=user, name='full')[1]}"}


def test_a_full_disk_is_told_as_such_and_everything_goes_on_once_there_is_room(
    disk: Path, portal, client: Client, alice: User, node: Node, scripted
) -> None:
    portal.start("cluster")
    server = scripted("import time\nwhile True: time.sleep(1)")
    headers = sign_in(client, alice)
    packed = zipped({"a.txt": os.urandom(3 * MIB)})
    begun = client.post("/uploads/", {"name": "a.zip", "size": len(packed)}, content_type=JSON).json()
    url, half = f"/uploads/{begun['key']}/", len(packed) // 2
    script = {"Accept": JSON}
    assert client.put(f"{url}?offset=0", packed[:half], headers=script).json() == {"offset": half}

    with filled(disk):
        answer = client.put(f"{url}?offset={half}", packed[half:], headers=script)
        assert (answer.status_code, answer.json()) == (507, {"problem": SENTENCE})
        assert client.get(url).json() == {"offset": half}, "nothing is lost"
        layer = services.create_layer(
            by=alice, name="Text", game=server.game, kind="files", visibility="private",
            source={"files": {"a.txt": "x" * 100_000}},
        )  # fmt: skip
        build = Job.objects.about(layer.topic).get()
        assert settled(build) == "failed"
        assert build.error == SENTENCE
        start = services.start_server(by=alice, server=server)
        assert settled(start) == "failed"
        assert start.error.startswith("The disk is full: ")
        assert state_of(server).unit == "stopped"

    assert client.put(f"{url}?offset={half}", packed[half:], headers=script).json() == {"offset": len(packed)}
    sha256 = hashlib.sha256(packed).hexdigest()
    assert client.post(url, {"sha256": sha256}, content_type=JSON).status_code == 204
    archive = services.create_layer(
        by=alice, name="A", game=server.game, kind="archive", visibility="private", source={}, upload=begun["key"]
    )
    with filled(disk):
        job = Job.objects.about(archive.topic).get()
        assert settled(job) in ("failed", "succeeded")
    for made in (layer, archive):
        job = services.build_layer(by=alice, layer=made, upload=begun["key"] if made == archive else "")
        assert settled(job) == "succeeded" or not Upload.objects.exists(), job.error
        assert Layer.objects.get(pk=made.pk).build
    start = services.start_server(by=alice, server=server)
    assert settled(start) == "succeeded", start.error
    assert headers


def test_a_database_whose_disk_is_full_answers_507_everywhere(
    transactional_db, client: Client, alice: User, server: Server, tmp_path: Path
) -> None:
    headers = sign_in(client, alice)
    with connection.cursor() as db:
        db.execute("SHOW data_directory")
        owner = Path(db.fetchone()[0]).stat()
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents[:3]:
        folder.chmod(0o755)
    page, api = f"/servers/{server.name}/own-files/file/", f"/api/v1/servers/{server.name}/own-files/cfg/full.cfg"
    given = {"path": "cfg/full.cfg", "text": "// hello", "was": ""}
    with small_disk(tmp_path / "pg", "4m") as disk:
        os.chown(disk, owner.st_uid, owner.st_gid)
        try:
            with connection.cursor() as db:
                db.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
                db.execute("ALTER TABLE servers_serverfile SET TABLESPACE small")
            with filled(disk):
                answer = client.post(page, given)
                assert (answer.status_code, SENTENCE in answer.content.decode()) == (507, True), answer.content
                answer = client.post(page, given, headers={"HX-Request": "true"})
                assert (answer.status_code, SENTENCE in answer.headers["HX-Trigger"]) == (507, True)
                answer = client.put(api, {"text": "// hello"}, content_type=JSON, headers=headers)
                assert (answer.status_code, answer.json()["detail"]) == (507, SENTENCE), answer.content
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert not ServerFile.objects.exists()
                assert client.get(f"/servers/{server.name}/").status_code == 200
            assert client.post(page, given).status_code == 302
            assert ServerFile.objects.get().text == "// hello"
        finally:
            with connection.cursor() as db:
                db.execute("ALTER TABLE servers_serverfile SET TABLESPACE pg_default")
                db.execute("DROP TABLESPACE IF EXISTS small")


def test_what_fails_around_the_views_goes_the_same_way() -> None:
    for error, status in ((OSError(errno.ENOSPC, "No space left on device"), 507), (ValueError(), 500)):
        try:
            raise error
        except (OSError, ValueError):
            assert server_error(RequestFactory().get("/")).status_code == status


def test_readyz_names_the_node_whose_disk_is_nearly_full(client: Client, server: Server) -> None:
    Node.objects.update(agent_seen_at=timezone.now(), agent_info={"disk_free": 5 << 30})
    assert client.get("/readyz").status_code == 200
    Node.objects.update(agent_info={"disk_free": 123_456_789})
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "local (123456789 bytes free)" in answer.json()["problems"]["disk"]


def test_a_database_that_refuses_connections_for_want_of_room_is_known_for_a_full_disk() -> None:
    refused = psycopg.OperationalError("FATAL:  could not write init file: No space left on device")
    assert is_full(refused)
    assert not is_full(psycopg.OperationalError("the server closed the connection unexpectedly"))
    assert not is_full(ValueError("No space left on device"))  # which anybody may have typed
