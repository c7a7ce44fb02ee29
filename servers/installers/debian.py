"""Installs a game from the machine's Debian sources without root: apt downloads and verifies, dpkg-deb unpacks.

apt is given folders of its own below STATE_DIR/apt, so the system's package state is neither needed nor touched.
Downloaded packages stay there, up to a bound, which is what makes a retry go on where it was.
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from django.conf import settings

from jobs import process
from jobs.run import Run
from servers.installers.tree import InstallError
from servers.installers.turns import turn

CACHE_BYTES = 2**30
SPARE_BYTES = 64 * 2**20
UPDATE_SECONDS, DOWNLOAD_SECONDS, UNPACK_SECONDS = 300, 3600, 600
_URI = re.compile(r"^'[^']+' (?P<file>[^\s_]+_\S+\.deb) (?P<size>\d+) (?P<hash>SHA256|SHA512):(?P<digest>\w+)", re.M)
_MISSING = re.compile(
    r"^E: (?:Unable to locate package|Can't find a source to download version .* of) '?([^\s']+)", re.M
)
_INSTALLED = re.compile(r"^Installed-Size: (\d+)$", re.MULTILINE)
# Read last, so it also clears the system's hooks: they would act on the system's own cache.
_CONFIG = """\
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Dpkg::Use-Pty "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


@dataclass(frozen=True)
class Package:
    """One .deb as apt announces it."""

    name: str
    file: str
    size: int
    hash: str
    digest: str

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` has it whole and unchanged."""
        path = folder / self.file
        if not path.exists() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.hash.lower()).hexdigest() == self.digest

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])


def install(name: str, packages: Sequence[str], into: Path, run: Run) -> str:
    """Unpack `packages` into `into`; returns the first one's version, with a digest of the rest when there are several.

    Raises `InstallError`: a package is unknown, the network or the disk does not suffice.
    """
    apt = _Apt((settings.STATE_DIR / "apt").resolve(), run)
    with turn(apt.root / "lock", run):
        apt.update()
        wanted = apt.find(packages)
        apt.check_space(name, wanted, into)
        total = sum(package.size for package in wanted)
        done = 0
        for package in wanted:
            apt.download(package)
            done += package.size
            run.progress(80 * done / total)
        for number, package in enumerate(wanted, 1):
            run.check()
            apt.unpack(package, into)
            run.progress(80 + 19 * number / len(wanted))
        apt.prune({package.file for package in wanted})
    return _version(wanted)


def newest_version(packages: Sequence[str], run: Run) -> str:
    """What `install` would give now. Raises `InstallError`."""
    apt = _Apt((settings.STATE_DIR / "apt").resolve(), run)
    with turn(apt.root / "lock", run):
        apt.update()
        return _version(apt.find(packages))


def _version(wanted: Sequence[Package]) -> str:
    if len(wanted) == 1:
        return wanted[0].version
    digest = hashlib.sha256("\n".join(sorted(package.file for package in wanted)).encode()).hexdigest()
    return f"{wanted[0].version}-{digest[:8]}"


class _Apt:
    """apt-get with state and cache below `root`."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.run = root, run
        self.archives = root / "archives"
        for folder in (self.archives, root / "state" / "lists" / "partial", root / "cache" / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (root / "state" / "status").touch()
        (root / "apt.conf").write_text(_CONFIG.format(root=root))
        self._updated = True

    def update(self) -> None:
        """Fetch the package lists. One unreachable source need not matter, so failure is told only by `find`."""
        self.run.log("Fetching the package lists.")
        self._updated = (
            self.run.call(self._command("apt-get", "-q", "update"), timeout=UPDATE_SECONDS, ok=(0, 100)) == 0
        )

    def find(self, names: Sequence[str]) -> list[Package]:
        """What apt would download for each of `names`, in that order."""
        answer = self._ask("apt-get", "download", "--print-uris", *names)
        if answer.code:
            self.run.log(answer.output)
            missing = ", ".join(_MISSING.findall(answer.output)) or "some of the packages"
            if not self._updated:
                raise InstallError("Debian's package lists could not be fetched. Check the network, then retry.")
            raise InstallError(
                f"This machine's Debian sources do not have {missing}. Ask an admin to add one that has, then retry."
            )
        found = {match["file"].split("_")[0]: match for match in _URI.finditer(answer.output)}
        return [
            Package(name, m["file"], int(m["size"]), m["hash"], m["digest"]) for name in names for m in [found[name]]
        ]

    def check_space(self, name: str, packages: Sequence[Package], into: Path) -> None:
        """`InstallError` unless both the downloads and the unpacked files fit."""
        shown = self._ask("apt-cache", "show", "--no-all-versions", *(package.name for package in packages)).output
        unpacked = sum(int(size) * 1024 for size in _INSTALLED.findall(shown)) + SPARE_BYTES
        missing = sum(package.size for package in packages if not (self.archives / package.file).exists())
        same = self.archives.stat().st_dev == into.stat().st_dev
        for folder, needed in ((into, unpacked + missing * same), (self.archives, missing)):
            if (free := shutil.disk_usage(folder).free) < needed:
                raise InstallError(
                    f"{name} needs {needed / 2**20:,.0f} MiB of disk and the machine has {free / 2**20:,.0f} MiB free. "
                    "Ask an admin to make room, then retry."
                )

    def download(self, package: Package) -> None:
        """Bring one package into the archives. apt verifies what it fetches, and goes on with a file cut short."""
        self.run.check()
        if package.is_in(self.archives):
            self.run.log(f"{package.file} was downloaded before.")
            return
        path = self.archives / package.file
        if path.exists() and path.stat().st_size >= package.size:
            path.unlink()  # apt would take any file of the right size
        command = self._command("apt-get", "-q", "download", f"{package.name}={package.version}")
        if self.run.call(command, timeout=DOWNLOAD_SECONDS, cwd=self.archives, ok=(0, 100)):
            raise InstallError(
                f"{package.name} could not be downloaded; the lines above say why. Check the network and the disk, "
                "then retry: what has arrived is kept."
            )

    def unpack(self, package: Package, into: Path) -> None:
        self.run.log(f"Unpacking {package.file}")
        command = ["dpkg-deb", "-x", str(self.archives / package.file), str(into)]
        if self.run.call(command, timeout=UNPACK_SECONDS, ok=range(256)):
            free = shutil.disk_usage(into).free / 2**20
            raise InstallError(
                f"{package.name} could not be unpacked; the lines above say why. The machine's disk has "
                f"{free:,.0f} MiB free: ask an admin to make room if that is little, then retry."
            )

    def prune(self, used: set[str]) -> None:
        """Keep the packages just used and, newest first, others up to a bound."""
        room = CACHE_BYTES
        for path in sorted(self.archives.iterdir(), key=lambda path: (path.name in used, path.stat().st_mtime))[::-1]:
            room -= path.stat().st_size
            if room < 0:
                path.unlink()

    def _ask(self, program: str, *arguments: str) -> process.Finished:
        # Not in the archives: apt leaves out of its answer what it would find in the folder it runs in.
        return process.run(self._command(program, *arguments), timeout=60, cwd=self.root, check=self.run.check)

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [program, "-c", str(self.root / "apt.conf"), *arguments]
