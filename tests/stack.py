"""The portal's real processes against the test database: daphne, a cluster, an agent, each a process of its own."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from django.conf import settings
from django.db import connection

BASE = Path(settings.BASE_DIR)


def wait_for(condition, *, seconds: float = 15, every: float = 0.05, what: str = "condition"):  # type: ignore[no-untyped-def]
    """Poll `condition` until it returns something true, which is returned; `AssertionError` after `seconds`."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if result := condition():
            return result
        time.sleep(every)
    raise AssertionError(f"{what} did not come true within {seconds:g} s")


def nobody_asks(looks: int = 3) -> bool:
    """Whether no other session of the database does anything, at several looks in a row."""
    for _ in range(looks):
        with connection.cursor() as db:
            db.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
                " AND pid <> pg_backend_pid()"
            )
            if db.fetchone()[0]:
                return False
        time.sleep(0.02)
    return True


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def game_port() -> int:
    """A port for a game: below those the kernel gives to whoever asks for any, so nobody takes it in a restart.

    Tests side by side have ports of their own.
    """
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    while True:
        port = random.randrange(10_000 + 64 * int(worker[2:]), 31_000, 64 * int(workers))
        with contextlib.suppress(OSError), ExitStack() as held:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                held.enter_context(socket.socket(socket.AF_INET, kind)).bind(("0.0.0.0", port))
            return port


def test_database_url() -> str:
    database = connection.settings_dict
    return (
        f"postgresql://{database['USER']}@/{database['NAME']}?host={database['HOST']}&port={database['PORT'] or 5432}"
    )


class Stack:
    """Starts processes by name and ends them all on leaving. Their output goes to `folder/NAME.log`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = os.environ | {"DATABASE_URL": test_database_url(), "PYTHONUNBUFFERED": "1"} | environment
        self.prefix: list[str] = []  # a command that runs the others, such as prlimit
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.port = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self.processes):
            self.stop(name)
        if error:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")

    def start(self, command: str, *args: str, name: str = "") -> subprocess.Popen[bytes]:
        """Run `manage.py COMMAND ARGS` in a process group of its own."""
        name = name or command
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.prefix, sys.executable, "manage.py", command, *args],
                cwd=BASE, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_web(self, name: str = "web", port: int = 0, *flags: str) -> str:
        """Start daphne; returns its URL once it answers."""
        port = port or free_port()
        process = self.start("web", "--port", str(port), *flags, name=name)
        self.port = port
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, (self.folder / f"{name}.log").read_text()
            try:
                return bool(urlopen(f"{url}/healthz", timeout=2).status == 200)
            except (URLError, OSError):
                return False

        wait_for(answers, seconds=30, what="daphne answering /healthz")
        return url

    def kill(self, name: str) -> None:
        """SIGKILL to that process alone, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str, seconds: float = 15) -> None:
        """SIGTERM, then SIGKILL to the group for what is left."""
        process = self.processes.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
