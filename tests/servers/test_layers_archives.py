"""Uploads and archives: resumed where they stopped, checked, unpacked; what is evil is named and leaves nothing."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import py7zr
import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.models import Job
from portal.models import User
from servers import services
from servers.layers import stack
from servers.layers.archives import reader
from servers.layers.placing import put_where_wanted
from servers.layers.unpack import REFUSED
from servers.layers.writer import Bounds, Refused, Writer
from servers.models import Layer, Upload
from tests.servers.addons import campaign
from tests.servers.living import settled

JSON = "application/json"
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def send(client: Client, name: str, data: bytes, piece: int = 100_000) -> str:
    """Upload as the browser does."""
    begun = client.post("/uploads/", {"name": name, "size": len(data)}, content_type=JSON).json()
    url = f"/uploads/{begun['key']}/"
    for at in range(0, len(data), piece):
        answer = client.put(f"{url}?offset={at}", data[at : at + piece], content_type="application/octet-stream")
        assert answer.json() == {"offset": min(at + piece, len(data))}
    assert client.post(url, {"sha256": hashlib.sha256(data).hexdigest()}, content_type=JSON).status_code == 204
    return begun["key"]


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members: list[tarfile.TarInfo], mode: str = "w", data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def unpack(tmp_path: Path, name: str, data: bytes) -> tuple[int, str, list[str]]:
    """The program itself: its code, its sentence, and what it left."""
    (tmp_path / "packed").write_bytes(data)
    (tmp_path / "into").mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "servers.layers.unpack", tmp_path / "packed", name, tmp_path / "into"]
    done = subprocess.run(argv, cwd=django_settings.BASE_DIR, capture_output=True, text=True, timeout=120)
    assert not done.stderr
    left = sorted(str(p.relative_to(tmp_path / "into")) for p in (tmp_path / "into").rglob("*") if p.is_file())
    return done.returncode, done.stdout.strip(), left


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
    settings.STATE_DIR, settings.UPLOAD_MAX, settings.LAYER_QUOTA = tmp_path, 1000, 1500
    assert client.post("/uploads/", {"name": "a.zip", "size": 1}, content_type=JSON).status_code == 302
    client.force_login(alice)
    begin = lambda **given: client.post("/uploads/", given, content_type=JSON)  # noqa: E731
    for wrong in ({}, {"name": "a.zip", "size": "1"}, {"name": 1, "size": 1}):
        assert begin(**wrong).status_code == 400
    for name, size in (("a.exe", 1), ("../a.zip", 1), ("a.zip", 1001), ("a.zip", 0), ("a.zip", -5)):
        assert begin(name=name, size=size).status_code == 409
    key = begin(name="a.zip", size=900).json()["key"]
    assert "Your layers may take" in begin(name="b.zip", size=900).json()["problem"]
    client.force_login(bob)
    assert client.get(f"/uploads/{key}/").status_code == 404
    assert client.put(f"/uploads/{key}/?offset=0", b"x", content_type=JSON).status_code == 404


def test_uploads_that_nobody_continues_are_given_up(alice: User, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    old, new = (services.begin_upload(by=alice, filename="a.zip", size=1) for _ in range(2))
    Upload.objects.filter(pk=old.pk).update(touched_at=timezone.now() - timezone.timedelta(hours=25))
    assert services.discard_stale_uploads() == 1
    assert [path.name for path in (tmp_path / "uploads").iterdir()] == [str(new.pk)]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tar_archives_of_every_compression_are_unpacked(tmp_path: Path, mode: str):
    data = os.urandom(3_000_000)
    packed = tarred([member("top/ünïcode.cfg"), member("top/b")], mode, data)
    code, sentence, left = unpack(tmp_path, f"a.tar{mode[1:].replace(':', '.')}", packed)
    assert (code, sentence, left) == (0, "", ["top/b", "top/ünïcode.cfg"])
    assert (tmp_path / "into/top/b").read_bytes() == data


def test_7z_archives_are_unpacked(tmp_path: Path):
    data = os.urandom(3_000_000)
    with py7zr.SevenZipFile(tmp_path / "made.7z", "w") as archive:
        for name, content in (("top/a.cfg", data), ("top/empty", b""), ("b", b"x" * 5_000_000)):
            archive.writestr(content, name)
    assert unpack(tmp_path, "a.7z", (tmp_path / "made.7z").read_bytes()) == (0, "", ["b", "top/a.cfg", "top/empty"])
    assert (tmp_path / "into/top/a.cfg").read_bytes() == data


def link_in_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def sparse() -> tarfile.TarInfo:
    made = member("evil")
    made.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100", "GNU.sparse.name": "evil"}
    return made


EVIL = {
    "traversal": ("a.zip", lambda: zipped({"../evil": b"x"}), "leads out of its folder"),
    "traversal in tar": ("a.tar", lambda: tarred([member("a/../../evil")]), "leads out of its folder"),
    "backslashes": ("a.zip", lambda: zipped({"..\\evil": b"x"}), "leads out of its folder"),
    "absolute": ("a.tar", lambda: tarred([member("/evil")]), "absolute"),
    "drive": ("a.zip", lambda: zipped({"C:/evil": b"x"}), "absolute"),
    "link": ("a.tar.gz", lambda: tarred([member("evil", tarfile.SYMTYPE, "/etc")], "w:gz"), "is a link or a device"),
    "hard link": ("a.tar", lambda: tarred([member("evil", tarfile.LNKTYPE, "/etc/passwd")]), "is a link or a device"),
    "device": ("a.tar", lambda: tarred([member("evil", tarfile.CHRTYPE)]), "is a link or a device"),
    "fifo": ("a.tar", lambda: tarred([member("evil", tarfile.FIFOTYPE)]), "is a link or a device"),
    "link in zip": ("a.zip", link_in_zip, "is a link or a device"),
    "sparse": ("a.tar", lambda: tarred([sparse()]), "sparse"),
    "case": ("a.zip", lambda: zipped({"Evil": b"x", "evil": b"y"}), "is there twice"),
    "folder and file": ("a.zip", lambda: zipped({"evil": b"x", "evil/b": b"y"}), "is there twice"),
    "long": ("a.zip", lambda: zipped({"evil" * 60: b"x"}), "too long"),
    "deep": ("a.zip", lambda: zipped({"evil/" * 40 + "a": b"x"}), "too long"),
    "invisible": ("a.zip", lambda: zipped({"evil\x1b[31m": b"x"}), "invisible"),
    "not UTF-8": ("a.tar", lambda: tarred([member("evil\udcff")]), "not UTF-8"),
    "whiteout": ("a.zip", lambda: zipped({"a/.wh.evil": b"x"}), "deleted file"),
    "bomb": ("evil.zip", lambda: zipped({"evil": bytes(200 << 20)}), "more than 64 MB"),
    "bomb in bzip2": ("evil.tar.bz2", lambda: tarred([member("evil")], "w:bz2", bytes(200 << 20)), "evil"),
}


@pytest.mark.parametrize("what", EVIL)
def test_what_is_evil_is_refused_by_name_and_reaches_nothing(tmp_path: Path, what: str):
    name, make, reason = EVIL[what]
    code, sentence, left = unpack(tmp_path, name, make())
    assert code == REFUSED
    assert reason in sentence
    assert "evil" in sentence
    assert all(path in ("evil", "Evil") for path in left)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "packed"]


def test_too_many_files_are_refused(tmp_path: Path):
    with Writer(str(tmp_path), bounds=Bounds(count=10)) as into:
        for number in range(10):
            into.file(f"f{number}", [])
        with pytest.raises(Refused, match="more than 10 files"):
            into.file("f10", [])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["a.vpk"], ["left4dead2/addons/a.vpk"]),
        (
            ["Some Add-on/a.vpk", "Some Add-on/read me.txt"],
            ["left4dead2/addons/a.vpk", "left4dead2/addons/read me.txt"],
        ),
        (["x/y/addons/a.vpk"], ["left4dead2/addons/a.vpk"]),
        (["cfg/server.cfg", "addons/sourcemod/x"], ["left4dead2/addons/sourcemod/x", "left4dead2/cfg/server.cfg"]),
        (["wrap/left4dead2/cfg/a.cfg"], ["left4dead2/cfg/a.cfg"]),
        (["wrap/wrap/a.vpk"], ["left4dead2/addons/a.vpk"]),
        (["srcds_run"], ["srcds_run"]),
    ],
)
def test_add_ons_are_put_where_the_game_looks_for_them(tmp_path: Path, before: list[str], after: list[str]):
    from servers import games

    root = tmp_path / "root"
    with_files(root, before)
    put_where_wanted(root, games.get("left4dead2"))
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == after
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def with_files(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@MANY
@given(data=st.data(), kind=st.sampled_from(["zip", "tar", "tar.gz", "7z"]))
def test_damaged_archives_are_refused_or_read_and_never_escape(tmp_path_factory, data, kind: str):
    """The readers themselves, in this process; the program turns whatever they raise into a sentence."""
    good = GOOD[kind]
    packed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    place = tmp_path_factory.mktemp("fuzz")
    (place / "packed").write_bytes(packed[: data.draw(st.integers(1, len(good)))])
    (place / "into").mkdir()
    with suppress(Exception), Writer(str(place / "into"), packed=len(packed)) as into:
        reader(f"a.{kind}")(place / "packed", into)
    assert sorted(path.name for path in place.iterdir()) == ["into", "packed"]


def seven() -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w") as archive:
        archive.writestr(b"x" * 500, "a/b.cfg")
        archive.writestr(b"y", "c")
    return buffer.getvalue()


GOOD = {
    "zip": zipped({"a/b.cfg": b"x" * 500, "c": b"y"}),
    "tar": tarred([member("a/b.cfg"), member("c")], "w", b"x" * 500),
    "tar.gz": tarred([member("a/b.cfg"), member("c")], "w:gz", b"x" * 500),
    "7z": seven(),
}
