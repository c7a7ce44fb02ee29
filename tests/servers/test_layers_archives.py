"""Archives: unpacked whatever packed them, put where the game looks; what is evil is named and leaves nothing."""

import os
import tarfile
from pathlib import Path

import pytest

from servers import games
from servers.layers.placing import put_where_wanted
from servers.layers.unpack import REFUSED
from servers.layers.writer import Bounds, Refused, Writer
from tests.servers.archives import member, resealed, sevened, sparse, special_in_zip, tarred, unpack, zipped


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tar_archives_of_every_compression_are_unpacked(tmp_path: Path, mode: str):
    data = os.urandom(1_500_000)
    packed = tarred([member("top/ünïcode.cfg"), member("top/b")], mode, data)
    code, sentence, left = unpack(tmp_path, f"a.tar{mode[1:].replace(':', '.')}", packed)
    assert (code, sentence, left) == (0, "", ["top/b", "top/ünïcode.cfg"])
    assert (tmp_path / "into/top/b").read_bytes() == data


def test_7z_archives_are_unpacked(tmp_path: Path):
    data = os.urandom(1_500_000)
    packed = sevened({"top/a.cfg": data, "top/empty": b"", "b": b"x" * 1_500_000})
    assert unpack(tmp_path, "a.7z", packed) == (0, "", ["b", "top/a.cfg", "top/empty"])
    assert (tmp_path / "into/top/a.cfg").read_bytes() == data


def renamed_7z(before: str, after: str) -> bytes:
    """By an archive's directory, as no program would pack it."""
    return resealed("7z", sevened({before: b"x"}).replace(before.encode("utf-16le"), after.encode("utf-16le")))


EVIL = {
    "traversal": ("a.zip", lambda: zipped({"../evil": b"x"}), "leads out of its folder"),
    "traversal in 7z": ("a.7z", lambda: renamed_7z("xx/evil", "../evil"), "leads out of its folder"),
    "traversal in tar": ("a.tar", lambda: tarred([member("a/../../evil")]), "leads out of its folder"),
    "backslashes": ("a.zip", lambda: zipped({"..\\evil": b"x"}), "leads out of its folder"),
    "absolute": ("a.tar", lambda: tarred([member("/evil")]), "absolute"),
    "drive": ("a.zip", lambda: zipped({"C:/evil": b"x"}), "absolute"),
    "link": ("a.tar.gz", lambda: tarred([member("evil", tarfile.SYMTYPE, "/etc")], "w:gz"), "is a link or a device"),
    "hard link": ("a.tar", lambda: tarred([member("evil", tarfile.LNKTYPE, "/etc/passwd")]), "is a link or a device"),
    "device": ("a.tar", lambda: tarred([member("evil", tarfile.CHRTYPE)]), "is a link or a device"),
    "fifo": ("a.tar", lambda: tarred([member("evil", tarfile.FIFOTYPE)]), "is a link or a device"),
    "link in zip": ("a.zip", lambda: special_in_zip("evil"), "is a link or a device"),
    "sparse": ("a.tar", lambda: tarred([sparse("evil")]), "sparse"),
    "case": ("a.zip", lambda: zipped({"Evil": b"x", "evil": b"y"}), "is there twice"),
    "folder and file": ("a.zip", lambda: zipped({"evil": b"x", "evil/b": b"y"}), "is there twice"),
    "long": ("a.zip", lambda: zipped({"evil" * 60: b"x"}), "too long"),
    "deep": ("a.zip", lambda: zipped({"evil/" * 40 + "a": b"x"}), "too long"),
    "invisible": ("a.zip", lambda: zipped({"evil\x1b[31m": b"x"}), "invisible"),
    "not UTF-8": ("a.tar", lambda: tarred([member("evil\udcff")]), "not UTF-8"),
    "whiteout": ("a.zip", lambda: zipped({"a/.wh.evil": b"x"}), "deleted file"),
    "bomb": ("evil.zip", lambda: zipped({"evil": bytes(70 << 20)}), "more than 64 MB"),
    "bomb in bzip2": ("evil.tar.bz2", lambda: tarred([member("evil")], "w:bz2", bytes(70 << 20)), "evil"),
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


@pytest.mark.parametrize("name", ["a.zip", "a.7z", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_what_is_damaged_is_called_so(tmp_path: Path, name: str):
    early = zipped({"a": b"x"})[:-6] + b"\xff\xff\xff\x7f\0\0"  # its directory would begin before the file
    for data in (b"", early, b"\x1f\x8b\x08", b"BZh9" + bytes(40)):
        code, sentence, _ = unpack(tmp_path, name, data)
        assert code == REFUSED
        assert sentence.startswith(f"“{name}” is damaged or no archive of its kind")


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
    root = tmp_path / "root"
    with_files(root, before)
    put_where_wanted(root, games.get("left4dead2"))
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == after
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def with_files(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
