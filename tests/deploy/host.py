"""A Debian that boots in systemd-nspawn: the real host of the host tests. Needs root; shares our process's network.

A root is built once with mmdebstrap and kept as a folder in the cache; every `Host` boots a copy of its own, so tests
may break it as they like. cgroup controllers are what the machine delegates: a test that needs one asks `controllers`.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deploy.network import leave_for_own_network

BASE = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LEFT4ME_TEST_CACHE", Path.home() / ".cache" / "left4me-tests"))
MIRROR = os.environ.get("LEFT4ME_TEST_MIRROR", "http://deb.debian.org/debian")
PYTHONS = {"trixie": "3.13", "bookworm": "3.11"}
# What `deploy/install.sh` takes from apt, and what the tests themselves use, fetched once into the root's apt cache.
PACKAGES = "postgresql caddy nftables python3-venv polkitd dbus acl fuse3 fuse-overlayfs gcc-multilib libc6-dev-i386"
BASE_PACKAGES = "systemd,systemd-sysv,dbus,python3,ca-certificates,curl"
PLACE, PREFIX = Path(os.environ.get("TMPDIR", "/var/tmp")), "left4me-host-"
PR_SET_PDEATHSIG = 1
NEEDED = ("systemd-nspawn", "nsenter", "mmdebstrap", "ip", "nft")


def why_not() -> str:
    """Why no host can be booted here, or ""."""
    if os.geteuid() != 0:
        return "booting a Debian needs root"
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    return (
        f"{', '.join(missing)} missing: apt-get install mmdebstrap systemd-container iproute2 nftables"
        if missing
        else ""
    )


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached_root(suite: str) -> Path:
    """Folder of a pristine minimal Debian with the installer's packages in its apt cache; built when absent."""
    key = hashlib.sha256(f"{BASE_PACKAGES} {PACKAGES}".encode()).hexdigest()[:10]
    root = CACHE / f"{suite}-{key}"
    with locked(suite):
        if not root.exists():
            partial = CACHE / f"{suite}-{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            fetch = f'chroot "$1" apt-get install -y --no-install-recommends --download-only {PACKAGES}'
            subprocess.run(
                ["mmdebstrap", "--variant=important", f"--include={BASE_PACKAGES}", f"--customize-hook={fetch}",
                 "--skip=cleanup/apt/lists,cleanup/apt/cache", suite, str(partial), MIRROR],
                check=True, timeout=600, capture_output=True,
            )  # fmt: skip
            partial.rename(root)
    return root


def cached_wheels(suite: str) -> Path:
    """Folder with the wheels of requirements.txt for the Python of `suite`; filled when the lock file changes."""
    lock = (BASE / "requirements.txt").read_bytes()
    wheels = CACHE / f"wheels-{suite}-{hashlib.sha256(lock).hexdigest()[:10]}"
    with locked(suite):
        if not wheels.exists():
            partial = wheels.with_suffix(".partial")
            python = PYTHONS[suite]
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
            platforms = [f"--platform=manylinux_2_{minor}_{os.uname().machine}" for minor in (17, 28, 34)]
            subprocess.run(
                [*command, "-r", BASE / "requirements.txt", "-d", partial, f"--python-version={python}",
                 *platforms, f"--platform=manylinux2014_{os.uname().machine}", "--require-hashes"],
                check=True, timeout=600, capture_output=True,
            )  # fmt: skip
            partial.rename(wheels)
    return wheels


def die_with_parent() -> None:
    """In the child: end when the test run ends, however it ends. What that leaves of the machine the next run ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def cgroups_below_ours(name: str) -> list[Path]:
    """A cgroup of that name in each hierarchy of systemd's: two machines in one would share units' processes."""
    rows = [line.split(":") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    ours = {hierarchy: path for _, hierarchy, path in rows}
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or "name=systemd" in options.split(","):
            hierarchy = "" if kind == "cgroup2" else "name=systemd"
            found.append(Path(place, ours.get(hierarchy, "/").lstrip("/"), name))
    return found


def clear_leftovers() -> None:
    """End the machines of test runs that were killed, and delete their roots."""
    for owner in PLACE.glob(f"{PREFIX}*/owner"):
        if not Path("/proc", owner.read_text()).exists():
            cgroups = cgroups_below_ours(owner.parent.name)
            for cgroup in cgroups:
                with contextlib.suppress(OSError):
                    (cgroup / "cgroup.kill").write_text("1")  # of cgroup2 alone, which is enough
            shutil.rmtree(owner.parent, ignore_errors=True)
            with contextlib.suppress(OSError):
                remove_cgroups(cgroups)


def remove_cgroups(cgroups: list[Path]) -> None:
    for cgroup in cgroups:
        for folder, *_ in os.walk(cgroup, topdown=False):
            os.rmdir(folder)


class Host:
    """One booted Debian. `with Host("trixie") as host: host.sh("systemctl is-system-running")`."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        clear_leftovers()
        leave_for_own_network()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{suite}-", dir=PLACE))
        (self.folder / "owner").write_text(str(os.getpid()))
        self.root = self.folder / "root"
        # As udev makes it on a real host; the device of the machine underneath is left as it is.
        self.fuse = self.folder / "fuse"
        os.mknod(self.fuse, 0o600 | stat.S_IFCHR, os.makedev(10, 229))
        self.fuse.chmod(0o666)
        self.cgroups = cgroups_below_ours(self.folder.name)
        self.process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def __enter__(self) -> Self:
        try:
            source = cached_root(self.suite)
            subprocess.run(["cp", "-a", "--reflink=auto", source, self.root], check=True, timeout=600)
            # A user manager's end can go unnoticed in a nested cgroup tree and hold up every reload for minutes.
            (self.root / "etc/systemd/system/user@.service").symlink_to("/dev/null")
            self.boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def boot(self) -> None:
        """Start the machine; returns once systemd says it is up."""
        log = (self.folder / "console.log").open("ab")
        for cgroup in self.cgroups:
            cgroup.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            ["systemd-nspawn", "-q", "-D", self.root, "-M", self.folder.name[:60].replace("_", "x"), "--boot",
             "--register=no", "--keep-unit", "--private-users=no", "--capability=all", f"--bind={self.fuse}:/dev/fuse",
             f"--bind-ro={BASE}:/mnt/checkout", f"--bind-ro={cached_wheels(self.suite)}:/mnt/wheels",
             "--console=pipe"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=self._set_apart,
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )  # fmt: skip
        log.close()
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.leader = int(children[0]) if children else 0
            with contextlib.suppress(subprocess.TimeoutExpired):
                if self.leader and self.sh("systemctl is-system-running", check=False).stdout.strip() in (
                    "running",
                    "degraded",
                ):
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError("the host did not boot:\n" + (self.folder / "console.log").read_text()[-3000:])

    def _set_apart(self) -> None:
        """In the child."""
        die_with_parent()
        for cgroup in self.cgroups:
            (cgroup / "cgroup.procs").write_text("0")

    def halt(self) -> None:
        """Pull the plug."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
            while Path(f"/proc/{self.leader}").exists():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.leader, signal.SIGKILL)
                time.sleep(0.05)
            remove_cgroups(self.cgroups)

    def reboot(self, *, cleanly: bool = True) -> None:
        """Shut down as `systemctl reboot` does, or pull the plug; then boot again."""
        if cleanly and self.process:
            self.sh("systemctl reboot", check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(90)
        self.halt()
        self.boot()

    def run(
        self, *argv: str, check: bool = True, timeout: float = 60, text: str | None = None, user: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside; `user` through runuser; `text` is its standard input."""
        command = ["nsenter", "-t", str(self.leader), "-a"]
        command += ["runuser", "-u", user, "--"] if user else []
        clean = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            [*command, *argv], capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
            input=text, stdin=subprocess.DEVNULL if text is None else None, env=clean,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{shlex.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def sh(self, script: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-c", script, **options)  # type: ignore[arg-type]

    def python(self, script: str, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run("/usr/bin/python3", "-c", script, **options)  # type: ignore[arg-type]

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def journal(self, unit: str, *options: str, lines: int = 60) -> str:
        return self.run("journalctl", "-u", unit, "-o", "cat", "-n", str(lines), "--no-pager", *options).stdout

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        shown = self.run("systemctl", "show", unit, "-p", ",".join(properties)).stdout
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    @property
    def systemd(self) -> int:
        return int(self.sh("systemctl --version").stdout.split()[1])

    @property
    def controllers(self) -> set[str]:
        """cgroup controllers that units of this machine can use."""
        return set(self.sh("cat /sys/fs/cgroup/cgroup.controllers").stdout.split())
