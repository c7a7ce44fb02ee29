"""Reads archives that may be hostile, entry by entry. Runs in a process of its own whose memory is bounded.

The libraries only parse: what they name is judged and written by `Writer`, never by their own extraction.
"""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import py7zr
from py7zr.io import Py7zIO, WriterFactory

from servers.layers.writer import CHUNK, NAMES, TARS, NewFile, Refused, Writer, checked, shown

ENCRYPTED, UTF8 = 0x1, 0x800  # a ZIP entry's flags (APPNOTE.TXT 4.4.4)
ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
LINK_OR_DEVICE = "is a link or a device. Only files and folders may be in an archive."


def reader(filename: str) -> Callable[[Path, Writer], None]:
    """What unpacks a file of that name. Raises `Refused`."""
    name = filename.lower()
    if name.endswith(".zip"):
        return unpack_zip
    if name.endswith(".7z"):
        return unpack_7z
    if name.endswith(TARS):
        return unpack_tar
    raise Refused(f"“{shown(filename)}” is not an archive this portal knows. Use {', '.join(NAMES)}.")


def unpack_zip(path: Path, into: Writer) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _zip_name(info)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused(f"“{shown(name)}” {LINK_OR_DEVICE}")
            if info.flag_bits & ENCRYPTED:
                raise Refused(f"“{shown(name)}” is encrypted. Pack without a password.")
            if info.compress_type not in ZIP_METHODS:
                raise Refused(f"“{shown(name)}” is packed in an unusual way. Pack it as an ordinary ZIP file.")
            if name.endswith("/"):
                into.folder(name)
            else:
                with archive.open(info) as file:
                    into.file(name, _chunks(file))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as it was packed; without the flag for UTF-8 it is read as that all the same, or refused."""
    name = info.orig_filename
    if not info.flag_bits & UTF8:
        name = name.encode("cp437").decode("utf-8", "surrogateescape")
    return name.replace("\\", "/")  # as some programs for Windows write it


def unpack_tar(path: Path, into: Writer) -> None:
    # As a stream: it never seeks, so a compressed archive is read once.
    with tarfile.open(path, "r|*", encoding="utf-8", errors="surrogateescape") as archive:
        for member in archive:
            if member.issparse():
                raise Refused(f"“{shown(member.name)}” is a sparse file. Pack it as an ordinary one.")
            if member.isdir():
                into.folder(member.name)
            elif member.isreg() and (file := archive.extractfile(member)):
                into.file(member.name, _chunks(file))
            else:
                raise Refused(f"“{shown(member.name)}” {LINK_OR_DEVICE}")


def unpack_7z(path: Path, into: Writer) -> None:
    # Given an open file and not a name, py7zr unpacks in this thread alone and in the archive's order.
    with path.open("rb") as file, py7zr.SevenZipFile(file) as archive:
        if archive.needs_password():
            raise Refused("The archive is encrypted. Pack without a password.")
        for info in archive.list():
            if not info.is_file and not info.is_directory:
                raise Refused(f"“{shown(info.filename)}” {LINK_OR_DEVICE}")
            name = checked(info.filename, folder=info.is_directory)
            if info.is_directory:
                into.folder(name)
        archive.extractall(factory=_Factory(into))  # noqa: S202 (it writes nothing itself)


class _Factory(WriterFactory):
    """Told by py7zr of each file."""

    def __init__(self, into: Writer) -> None:
        self._into = into

    def create(self, filename: str, mode: str = "wb") -> Py7zIO:
        return _Piece(self._into.open(filename))


class _Piece(Py7zIO):
    """One file of a 7z archive while it is unpacked; nothing of it is kept here."""

    def __init__(self, file: NewFile) -> None:
        self._file, self._size = file, 0

    def write(self, s: bytes | bytearray) -> int:
        self._file.write(s)
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._file.close()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
