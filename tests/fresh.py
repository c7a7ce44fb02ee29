"""A fresh Debian where a newcomer types the two commands of README.md: its own Python, and pip as it comes.

Needs root and mmdebstrap. It shares the network, and pip's and apt's ways out of it. Whatever is left running in it
ends with the command that started it, since that has a process namespace of its own. (Its first process is a shell:
make ends at Ctrl-C by a signal to itself, which a first process does not get.)
"""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.host import PLACE, PYTHONS, cached_root
from tests.places import Checkout, Place, copy_sources
from tests.stack import free_port

TOOLS = "git make python3 python3-venv"  # what README.md asks for
CONFIGURATION = ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/apt/apt.conf.d",
                 "/root/.config/pip/pip.conf", "/root/.pip/pip.conf")  # fmt: skip
ENTER = """
mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/run" || exit 99
chroot "$0" sh -c 'cd /root/left4me && exec "$@"' - "$@"
exit $?
"""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}


class Fresh(Checkout):
    """The checkout is in /root/left4me; `TOOLS` are installed. `suite`: a key of `PYTHONS`."""

    patience = 1200

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.temporary = Path(tempfile.mkdtemp(prefix="left4me-fresh-", dir=PLACE))
        self.root = self.temporary / "root"
        self.outer = self.root / "root"
        self.folder = self.outer / "left4me"
        self.python, self.port = "python3", free_port()
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, str(self.root)]
        self.place = Place(f"a fresh {suite}, Python {PYTHONS[suite]}", prefix=enter, set=ENVIRONMENT)

    def __enter__(self) -> "Fresh":
        try:
            subprocess.run(["cp", "-a", "--reflink=auto", cached_root(self.suite), self.root], check=True, timeout=600)
            self._bring_configuration()
            copy_sources(self.folder)
            self.run("apt-get", "update", "-qq")
            self.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *TOOLS.split())
            version = self.run("python3", "--version")
            assert f"Python {PYTHONS[self.suite]}." in version, version
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _bring_configuration(self) -> None:
        for path in CONFIGURATION:
            target = self.root / path.lstrip("/")
            with contextlib.suppress(FileNotFoundError):
                if Path(path).is_dir():
                    shutil.copytree(path, target, dirs_exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.unlink(missing_ok=True)
                    shutil.copy(path, target)

    def run(self, *command: str) -> str:
        """Run it inside. Its output, of both kinds."""
        done = subprocess.run(
            [*self.place.prefix, *command], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=self.patience,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout
