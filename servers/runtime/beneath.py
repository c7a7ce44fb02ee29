"""Files below a folder that somebody else names: the kernel keeps every step of the path beneath it (openat2(2))."""

import ctypes
import errno
import os
import struct
from pathlib import PurePosixPath

SYS_OPENAT2 = 437  # the same on every architecture, as all calls since Linux 5.1
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08
_libc = ctypes.CDLL(None, use_errno=True)


class NotBeneath(Exception):
    """The path leaves its folder, goes through a link or is none at all."""

    def __init__(self, path: str) -> None:
        super().__init__(f"“{path}” is not a path inside its folder. Use a plain relative path.")


def open_beneath(root: int, path: str, flags: int, mode: int = 0o644) -> int:
    """Like `os.open(path, flags, mode)` below the folder behind `root`, through no link at all.

    Raises `NotBeneath`, or `OSError` as open(2) does.
    """
    flags |= os.O_CLOEXEC
    how = struct.pack("=QQQ", flags, mode if flags & os.O_CREAT else 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise NotBeneath(ascii(path)) from error
    if b"\0" in encoded:
        raise NotBeneath(path)
    descriptor = int(_libc.syscall(SYS_OPENAT2, root, encoded, how, len(how)))
    if descriptor < 0:
        code = ctypes.get_errno()
        if code in (errno.EXDEV, errno.ELOOP):
            raise NotBeneath(path)
        raise OSError(code, os.strerror(code), path)
    return descriptor


def make_folders_beneath(root: int, path: str, mode: int = 0o755) -> int:
    """Make the folder `path` and those above it where absent; returns a descriptor of it. Raises as `open_beneath`."""
    current = os.dup(root)
    for part in PurePosixPath(path).parts:
        try:
            try:
                descriptor = open_beneath(current, part, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=current)
                descriptor = open_beneath(current, part, os.O_RDONLY | os.O_DIRECTORY)
        finally:
            os.close(current)
        current = descriptor
    return current


def write_beneath(root: int, path: str, data: bytes, mode: int = 0o644) -> None:
    """Make the file `path`, which must not exist, and the folders above it. Raises as `open_beneath`."""
    folder, _, name = path.rpartition("/")
    if path.startswith("/") or not name:
        raise NotBeneath(path)
    parent = make_folders_beneath(root, folder)
    try:
        descriptor = open_beneath(parent, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    finally:
        os.close(parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
