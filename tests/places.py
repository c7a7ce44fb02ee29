"""Places where a newcomer types the two commands of README.md, each a copy of the checkout without git.

A virtual environment is made once and shared by hard links: what a place sees is below its own folder, and only that.
"""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.stack import free_port

BASE = Path(__file__).resolve().parents[1]
SOURCES = ("portal", "servers", "jobs", "deploy", "tests", "docs", "Makefile", "manage.py", "pyproject.toml",
           "README.md", "requirements.txt", "requirements-dev.txt")  # fmt: skip
STRANGER = 54321  # no passwd entry
CONTAINER = [sys.executable, str(Path(__file__).with_name("container.py"))]
AS_STRANGER = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
LONG = "a-path-of-a-hundred-characters-".ljust(100, "x")


@dataclass(frozen=True)
class Place:
    """`folder`: what the checkout is called; `within`: its parent; `prefix`: how a command is started there."""

    name: str
    folder: str = "left4me"
    within: str = "/tmp"
    prefix: list[str] = field(default_factory=list)
    unset: tuple[str, ...] = ()
    set: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022
    owner: int | None = None


NOBODY = pwd.getpwnam("nobody").pw_uid
LOCALES = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8")
PLACES = [
    Place("root, folder 0700"),
    Place("root, below /root", within="/root"),
    Place("unprivileged home of 0700", prefix=AS_NOBODY, owner=NOBODY),
    Place("path with a space", folder="left 4 me", prefix=AS_NOBODY, owner=NOBODY),
    Place("path with a space, root", folder="left 4 me"),
    Place("path with non-ASCII", folder="lèft4mé ゲーム", prefix=AS_NOBODY, owner=NOBODY),
    Place("path of 100 characters", folder=LONG, prefix=AS_NOBODY, owner=NOBODY),
    Place("umask 077, root", umask=0o077),
    Place("umask 077, unprivileged", umask=0o077, prefix=AS_NOBODY, owner=NOBODY),
    Place("no locale", folder="lèft4mé", unset=LOCALES, prefix=AS_NOBODY, owner=NOBODY),
    Place("LC_ALL=C", folder="lèft4mé", unset=LOCALES, set={"LC_ALL": "C"}, prefix=AS_NOBODY, owner=NOBODY),
    Place("no HOME", unset=("HOME",), prefix=AS_NOBODY, owner=NOBODY),
    Place("uid without a passwd entry, no HOME", unset=("HOME",), prefix=AS_STRANGER, owner=STRANGER),
    Place("container without user namespaces and fuse, root", prefix=CONTAINER),
    Place("container without user namespaces and fuse", prefix=[*CONTAINER, *AS_NOBODY], owner=NOBODY),
    Place(
        "all at once", folder=f"ü 4 {LONG}", umask=0o077, unset=(*LOCALES, "HOME"), prefix=AS_STRANGER, owner=STRANGER
    ),
]


def copy_sources(folder: Path) -> None:
    """Make `folder`, a checkout without git."""
    folder.mkdir()
    skip = shutil.ignore_patterns("node_modules", "__pycache__")
    for name in SOURCES:
        if (BASE / name).is_dir():
            shutil.copytree(BASE / name, folder / name, ignore=skip)
        else:
            shutil.copy(BASE / name, folder / name)


class Checkout:
    """A copy of the checkout in a place, removed on leaving."""

    patience = 300  # seconds for each of the two commands

    def __init__(self, place: Place, venv: Path, python: str) -> None:
        self.place = place
        self.outer = Path(tempfile.mkdtemp(prefix="left4me-place-", dir=place.within))  # 0700
        self.folder = self.outer / place.folder
        self.python = python
        self.port = free_port()
        previous = os.umask(place.umask)
        try:
            copy_sources(self.folder)
        finally:
            os.umask(previous)
        if subprocess.run(["cp", "-al", venv, self.folder / ".venv"], capture_output=True).returncode:
            subprocess.run(["cp", "-a", venv, self.folder / ".venv"], check=True)
        for stamp in ("run", "dev"):
            (self.folder / ".venv" / stamp).unlink(missing_ok=True)
            (self.folder / ".venv" / stamp).touch()
        if place.owner is not None:
            for path in (self.outer, self.folder, *self.folder.glob("*")):
                os.chown(path, place.owner, -1)

    def __enter__(self) -> "Checkout":
        return self

    def __exit__(self, *error: object) -> None:
        for state in self.folder.glob("var/lib/runtime/*/state.json"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(json.loads(state.read_text())["keeper"], signal.SIGKILL)
        subprocess.run(["make", "clean"], cwd=self.folder, capture_output=True)
        shutil.rmtree(self.outer, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        gone = {*self.place.unset, "LEFT4ME_VAR", "LEFT4ME_SECRET_KEY", "DATABASE_URL", "LEFT4ME_TEST_POSTGRES"}
        gone |= {name for name in os.environ if name.startswith(("PYTEST", "MAKE", "MFLAGS", "LEFT4ME_S"))}
        return {name: value for name, value in os.environ.items() if name not in gone} | self.place.set

    def make(self, target: str, arguments: str) -> subprocess.Popen[bytes]:
        """Start `make TARGET` there; its output is in the file TARGET.log beside the checkout."""
        command = [*self.place.prefix, "make", f"PYTHON={self.python}", target, f"ARGS={arguments}"]
        with (self.outer / f"{target}.log").open("wb") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment(), umask=self.place.umask, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def log(self, target: str) -> str:
        return (self.outer / f"{target}.log").read_text(errors="replace")

    def demo(self) -> None:
        """`make demo` until its page answers, then Ctrl-C. Raises `AssertionError` with its output."""
        ready = self.folder / "ready.json"
        process = self.make("demo", f"--port {self.port} --json ready.json")
        limit = time.monotonic() + self.patience
        while not ready.exists() and process.poll() is None and time.monotonic() < limit:
            time.sleep(0.1)
        try:
            assert ready.exists(), self.log("demo")
            with urllib.request.urlopen(f"{json.loads(ready.read_text())['url']}/accounts/login/", timeout=30) as page:
                assert page.status == 200
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(90)
        assert "Traceback" not in self.log("demo") and "ended" in self.log("demo"), self.log("demo")

    def test(self) -> None:
        """`make test` with one database test. Raises `AssertionError` with its output."""
        one = "tests/portal/test_postgres.py::test_it_listens_on_no_tcp_port"
        process = self.make("test", f"-q -n 0 {one}")
        status = process.wait(self.patience)
        assert status == 0 and "1 passed" in self.log("test"), self.log("test")
