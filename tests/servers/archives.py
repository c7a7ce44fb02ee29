"""Makes archives for tests, and unpacks them by the program that the worker starts."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import py7zr
from django.conf import settings


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


def sparse(name: str) -> tarfile.TarInfo:
    made = member(name)
    made.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100", "GNU.sparse.name": name}
    return made


def special_in_zip(name: str, kind: int = stat.S_IFLNK) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def sevened(files: dict[str, bytes], **options: Any) -> bytes:
    """Its directory as it is, not packed itself."""
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", header_encryption=False, **options) as archive:
        archive.set_encoded_header_mode(False)
        for name, data in files.items():
            archive.writestr(data, name)
    return buffer.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": partial(gzip.compress, compresslevel=1),
    "tar.xz": partial(lzma.compress, preset=0),
    "tar.bz2": partial(bz2.compress, compresslevel=1),
}


def resealed(kind: str, data: bytes) -> bytes:
    """A damaged archive with checksums that are right, so that readers look further than those."""
    if kind.startswith("tar"):
        blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
        data = b"".join(_tar_header(block) if block[257:262] == b"ustar" else block for block in blocks)
        return PACK[kind](data)
    if kind == "7z" and len(data) > 32:
        offset, size = struct.unpack_from("<QQ", data, 12)
        about = data[12:28] + struct.pack("<I", zlib.crc32(data[32 + offset :][:size]))
        return data[:8] + struct.pack("<I", zlib.crc32(about)) + about + data[32:]
    return data


def _tar_header(block: bytes) -> bytes:
    """The sum counts itself as blanks (POSIX ustar)."""
    return block[:148] + b"%06o\0 " % sum(block[:148] + b" " * 8 + block[156:]) + block[156:]


def unpack(tmp_path: Path, name: str, data: bytes) -> tuple[int, str, list[str]]:
    """The program itself: its code, its sentence, and what it left."""
    (tmp_path / "packed").write_bytes(data)
    (tmp_path / "into").mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "servers.layers.unpack", tmp_path / "packed", name, tmp_path / "into"]
    done = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=120)
    assert not done.stderr
    left = sorted(str(p.relative_to(tmp_path / "into")) for p in (tmp_path / "into").rglob("*") if p.is_file())
    return done.returncode, done.stdout.strip(), left
