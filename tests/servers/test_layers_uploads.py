"""Uploads: bounded, resumed where they stopped, checked, and nobody else's; what they hold becomes a layer."""

import hashlib
import re

from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers import services
from servers.layers import stack
from servers.models import Layer, Upload
from tests.servers.addons import campaign, vpk
from tests.servers.archives import zipped
from tests.servers.living import settled

JSON = "application/json"
HTMX = {"HX-Request": "true"}
GONE = "That upload is not there any more, or not all of the file is. Choose the file again."


def send(client: Client, name: str, data: bytes, piece: int = 100_000) -> str:
    """Upload as the browser does."""
    begun = client.post("/uploads/", {"name": name, "size": len(data)}, content_type=JSON).json()
    url = f"/uploads/{begun['key']}/"
    for at in range(0, len(data), piece):
        answer = client.put(f"{url}?offset={at}", data[at : at + piece], content_type="application/octet-stream")
        assert answer.json() == {"offset": min(at + piece, len(data))}
    assert client.post(url, {"sha256": hashlib.sha256(data).hexdigest()}, content_type=JSON).status_code == 204
    return begun["key"]


def test_an_uploaded_archive_becomes_a_layer(portal, client: Client, alice: User):
    client.force_login(alice)
    portal.start("cluster")
    addon = campaign("deadline", "Dead Line", "dl_m1", scripts__a_nut=b"x" * 200_000)
    key = send(client, "Dead Line.zip", zipped({"Dead Line/deadline.vpk": addon, "Dead Line/readme.txt": b"hi"}))
    form = {"name": "Dead Line", "game": "left4dead2", "visibility": "private", "upload_key": key}
    assert client.post("/new-layer/?kind=archive", form).status_code == 302
    made = Layer.objects.get()
    job = Job.objects.about(made.topic).get()
    assert settled(job) == "succeeded", job.error
    made.refresh_from_db()
    files = sorted(made.build.files.filter(addon="").values_list("path", flat=True))
    assert files == ["left4dead2/addons/deadline.vpk", "left4dead2/addons/readme.txt"]
    assert (stack.folder(made.build.digest) / files[0]).read_bytes() == addon
    assert made.build.files.filter(path="left4dead2/scripts/a.nut", addon=files[0]).exists()
    assert made.build.maps == ["dl_m1"]
    assert "Dead Line" in client.get("/layers/dead-line/").content.decode()
    assert not Upload.objects.exists()
    assert not list((django_settings.STATE_DIR / "uploads").iterdir())


def test_a_damaged_add_on_is_named(portal, client: Client, alice: User):
    client.force_login(alice)
    portal.start("cluster")
    key = send(client, "broken.vpk", b"\x34\x12\xaa\x55" + bytes(50))
    form = {"name": "Broken", "game": "left4dead2", "visibility": "private", "upload_key": key}
    client.post("/new-layer/?kind=archive", form)
    job = Job.objects.get()
    assert settled(job) == "failed"
    assert "left4dead2/addons/broken.vpk is damaged" in job.error


def test_missions_that_nothing_ends_cost_no_more_than_others(portal, client: Client, alice: User):
    """They occupied a worker for an hour: each quote was read to the end, over and over."""
    client.force_login(alice)
    portal.start("cluster")
    hostile = b'"' + b'\\"' * 100_000
    addon = vpk({f"missions/m{number}.txt": hostile for number in range(50)} | {"maps/m1.bsp": b"VBSP"})
    key = send(client, "a.vpk", addon, piece=1 << 22)
    form = {"name": "Endless", "game": "left4dead2", "visibility": "private", "upload_key": key}
    client.post("/new-layer/?kind=archive", form)
    job = Job.objects.get()
    assert settled(job, 120) == "succeeded", job.error
    build = Layer.objects.get().build
    assert build and build.maps == ["m1"] and len(build.campaigns) == 50


def test_an_upload_that_was_damaged_on_its_way_is_refused(portal, client: Client, alice: User):
    client.force_login(alice)
    portal.start("cluster")
    key = send(client, "a.zip", zipped({"a": b"x"}))
    (django_settings.STATE_DIR / "uploads" / key).write_bytes(b"other")
    layer = services.create_layer(
        by=alice, name="A", game="practice", kind="archive", visibility="private", source={}, upload=key
    )
    job = Job.objects.about(layer.topic).get()
    assert settled(job) == "failed"
    assert "damaged on its way" in job.error


def test_an_upload_goes_on_where_it_stopped(client: Client, alice: User, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    client.force_login(alice)
    key = client.post("/uploads/", {"name": "a.zip", "size": 10}, content_type=JSON).json()["key"]
    url = f"/uploads/{key}/"
    put = lambda at, data: client.put(f"{url}?offset={at}", data, content_type="application/octet-stream")  # noqa: E731
    assert put(0, b"12345").json() == {"offset": 5}
    assert client.get(url).json() == {"offset": 5}
    assert client.post(url, {"sha256": "0" * 64}, content_type=JSON).status_code == 409
    for at, data in ((0, b"12345"), (6, b"7890"), (5, b"678901"), (5, b""), ("x", b"6")):
        assert put(at, data).status_code == 409
    assert put(5, b"67890").json() == {"offset": 10}
    assert client.post(url, {"sha256": "zz"}, content_type=JSON).status_code == 409
    assert client.post(url, {"sha256": "0" * 64}, content_type=JSON).status_code == 204
    assert put(10, b"1").status_code == 409
    assert (tmp_path / "uploads" / key).read_bytes() == b"1234567890"


def test_uploads_are_bounded_and_nobody_elses(client: Client, alice: User, bob: User, settings, tmp_path):
    settings.STATE_DIR, settings.UPLOAD_MAX, settings.DISK_QUOTA = tmp_path, 1000, 1500
    assert client.post("/uploads/", {"name": "a.zip", "size": 1}, content_type=JSON).status_code == 302
    client.force_login(alice)
    begin = lambda **given: client.post("/uploads/", given, content_type=JSON)  # noqa: E731
    for wrong in ({}, {"name": "a.zip", "size": "1"}, {"name": 1, "size": 1}):
        assert begin(**wrong).status_code == 400
    for name, size in (("a.exe", 1), ("../a.zip", 1), ("a.zip", 1001), ("a.zip", 0), ("a.zip", -5)):
        assert begin(name=name, size=size).status_code == 409
    key = begin(name="a.zip", size=900).json()["key"]
    assert "and this needs" in begin(name="b.zip", size=900).json()["problem"]
    client.force_login(bob)
    assert client.get(f"/uploads/{key}/").status_code == 404
    assert client.put(f"/uploads/{key}/?offset=0", b"x", content_type=JSON).status_code == 404


def test_uploads_that_nobody_continues_are_given_up(alice: User, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    old, new = (services.begin_upload(by=alice, filename="a.zip", size=1) for _ in range(2))
    Upload.objects.filter(pk=old.pk).update(touched_at=timezone.now() - timezone.timedelta(hours=25))
    assert services.discard_stale_uploads() == 1
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == [str(new.pk)]


def whole_upload(by: User, data: bytes = b"x") -> Upload:
    upload = services.begin_upload(by=by, filename="a.zip", size=len(data))
    services.continue_upload(upload=upload, offset=0, piece=data)
    services.finish_upload(upload=upload, sha256=hashlib.sha256(data).hexdigest())
    return upload


def test_a_build_takes_no_upload_of_somebody_else(client: Client, alice: User, bob: User, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    theirs, half = whole_upload(alice), services.begin_upload(by=bob, filename="b.zip", size=9)
    client.force_login(bob)
    archive = Layer.objects.create(slug="b", name="B", game="practice", kind="archive", owner=bob)
    for key in (theirs.pk, half.pk, "00000000-0000-0000-0000-000000000000"):
        form = {"name": "Mine", "game": "practice", "visibility": "private", "upload_key": key}
        page = client.post("/new-layer/?kind=archive", form).content.decode()
        assert re.findall('class="error"><li>([^<]*)', page) == [GONE]
        assert 'name="upload_key" value=""' in page, "what is not there is not sent again"
        assert client.post("/layers/b/rebuild/", {"upload_key": key}, headers=HTMX).status_code == 409
    assert list(Layer.objects.all()) == [archive]
    assert not Job.objects.exists()
    theirs.refresh_from_db()
    assert theirs.owner == alice


def test_a_build_of_another_kind_leaves_the_upload_alone_whose_key_was_passed(portal, client, alice, bob):
    portal.start("cluster")
    theirs = whole_upload(alice)
    client.force_login(bob)
    made = Layer.objects.create(
        slug="b", name="B", game="practice", kind="files", owner=bob, source={"files": {"a.cfg": "x"}}
    )
    assert client.post("/layers/b/rebuild/", {"upload_key": theirs.pk}, headers=HTMX).status_code == 204
    job = Job.objects.about(made.topic).get()
    assert settled(job) == "succeeded", job.error
    assert Upload.objects.filter(pk=theirs.pk).exists()
    assert (django_settings.STATE_DIR / "uploads" / str(theirs.pk)).exists()
    services.discard_upload(key=str(theirs.pk), owner=bob.pk)
    assert Upload.objects.filter(pk=theirs.pk).exists()


def test_a_moderator_uploads_for_a_members_layer(alice: User, mod: User, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    made = Layer.objects.create(slug="a", name="A", game="practice", kind="archive", owner=alice)
    upload = whole_upload(mod)
    services.build_layer(by=mod, layer=made, upload=upload.pk)
    upload.refresh_from_db()
    assert upload.owner == alice


def test_a_key_that_is_none_is_refused_at_the_door(client: Client, alice: User):
    client.force_login(alice)
    Layer.objects.create(slug="a", name="A", game="practice", kind="archive", owner=alice)
    for key in ("x", "1", "../../etc/passwd", "{}"):
        assert client.post("/layers/a/rebuild/", {"upload_key": key}, headers=HTMX).status_code == 409
        answer = client.post("/new-layer/?kind=archive", {"upload_key": key})
        assert answer.status_code == 422
        assert GONE in answer.content.decode()
    assert not Job.objects.exists()
