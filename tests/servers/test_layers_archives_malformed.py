"""Damaged and hostile archives, by the thousand, in a process with the memory that the worker's program has."""

import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st

from servers.layers.unpack import REFUSED
from tests.generated import cases
from tests.servers.archives import member, resealed, sevened, sparse, tarred, zipped
from tests.servers.malformed import SECONDS, damaged, try_all
from tests.servers.unpacker import Unpacked, Unpacker

FILES = {"a/b.cfg": b"x" * 300, "c": b"x" * 300}
TAR = tarred([member(name) for name in FILES], "w", b"x" * 300)[: 6 * 512]  # without its padding
GOOD = {"zip": zipped(FILES), "7z": sevened(FILES), **dict.fromkeys(["tar", "tar.gz", "tar.xz", "tar.bz2"], TAR)}
GROWTH = 32 << 20  # bytes of a process that has unpacked thousands
PARTS = ["a", "b", "c", "d", "A", "ß", "SS", "..", ".", "", "C:", "..\\", "\x1b[31m", ".wh.a", "x" * 201]
PLAIN, SPOILT = PARTS[:4], 4  # of what is drawn, one in so many is a part of a name that is not plain
KINDS = {
    "file": (tarfile.REGTYPE, stat.S_IFREG),
    "folder": (tarfile.DIRTYPE, stat.S_IFDIR),
    "link": (tarfile.SYMTYPE, stat.S_IFLNK),
    "hard link": (tarfile.LNKTYPE, stat.S_IFLNK),
    "character device": (tarfile.CHRTYPE, stat.S_IFCHR),
    "block device": (tarfile.BLKTYPE, stat.S_IFBLK),
    "fifo": (tarfile.FIFOTYPE, stat.S_IFIFO),
    "sparse": (tarfile.REGTYPE, stat.S_IFSOCK),
}
Entries = list[tuple[str, str]]  # kinds and names


@pytest.fixture
def unpacker() -> Iterator[Unpacker]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Unpacker(Path(folder)) as started:
        yield started


def sound(done: Unpacked) -> Unpacked:
    """Whatever it was: read whole, or refused in a sentence; nothing but files, and nothing elsewhere."""
    assert (done.code, done.said) == (0, "") or (done.code == REFUSED and done.said.endswith(".")), done
    assert "\n" not in done.said
    assert None not in done.left.values() and done.beside == ["into", "packed"]
    assert done.processor < SECONDS
    return done


@pytest.mark.soak
def test_thousands_of_damaged_archives_are_read_or_refused(unpacker: Unpacker) -> None:
    for kind, data in GOOD.items():
        first = sound(unpacker.unpack(f"a.{kind}", resealed(kind, data)))
        assert (first.code, first.left) == (0, dict.fromkeys(FILES, 300))

    def read(archive: tuple[str, bytes]) -> None:
        kind, data = archive
        done = sound(unpacker.unpack(f"a.{kind}", resealed(kind, data)))
        assert done.descriptors == first.descriptors

    kinds = [damaged(data).map(lambda data, kind=kind: (kind, data)) for kind, data in GOOD.items()]
    try_all(read, archive=st.one_of(kinds))
    assert unpacker.unpack("a.zip", GOOD["zip"]).memory < first.memory + GROWTH


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.soak
def test_thousands_of_hostile_archives_are_refused_and_harmless_ones_read_whole(unpacker: Unpacker) -> None:
    def read(kind: str, entries: Entries) -> None:
        done = sound(unpacker.unpack(f"a.{kind}", tar_of(entries) if kind == "tar" else zip_of(entries)))
        files = {os.path.normpath(name) for kind, name in entries if kind == "file"}
        if done.code == 0:
            assert {kind for kind, _ in entries} <= {"file", "folder"}
            assert done.left == dict.fromkeys(files, 1)
        elif len({name.split("/")[0] for _, name in entries}) == len(entries):
            spoilt = [name for _, name in entries if not set(name.split("/")) <= set(PLAIN)]
            assert spoilt or {kind for kind, _ in entries} - {"file", "folder"}, done.said

    drawn = st.binary(min_size=4, max_size=16).map(entries_of)
    try_all(read, cases(500, 2000), kind=st.sampled_from(["zip", "tar"]), entries=drawn)


def entries_of(drawn: bytes) -> Entries:
    """Four bytes an entry, the most of which are ordinary files with ordinary names."""
    kinds = ["file"] * 2 * len(KINDS) + list(KINDS)
    return [
        (kinds[kind % len(kinds)], "/".join(_part(part) for part in parts if part < 200).rstrip("/"))
        for kind, *parts in zip(*[iter(drawn)] * 4, strict=False)
    ]


def _part(drawn: int) -> str:
    parts = PLAIN if drawn % SPOILT else PARTS
    return parts[drawn // SPOILT % len(parts)]


def tar_of(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for kind, name in entries:
            made = sparse(name) if kind == "sparse" else member(name, KINDS[kind][0], "../../etc/passwd")
            made.size = 1 if kind == "file" else 0
            archive.addfile(made, io.BytesIO(b"x"))
    return buffer.getvalue()


def zip_of(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for kind, name in entries:
            info = zipfile.ZipInfo(f"{name}/" if kind == "folder" else name)
            info.external_attr = (KINDS[kind][1] | 0o644) << 16
            archive.writestr(info, b"" if kind == "folder" else b"x")
    return buffer.getvalue()
