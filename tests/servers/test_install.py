"""Installing a game: Debian's packages, without root or a trace of failure; and what comes with the portal."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jobs.run import Cancelled
from servers import games, installers
from servers.installers import debian
from servers.installers.tree import tidy
from tests.games_cache import CACHE, PrintingRun

TEEWORLDS = ["teeworlds-server", "teeworlds-data"]


@pytest.fixture
def state(settings, tmp_path: Path) -> Path:
    """An empty STATE_DIR: nothing is downloaded yet."""
    settings.STATE_DIR = tmp_path / "state"
    return settings.STATE_DIR


@pytest.fixture
def lists(state: Path) -> None:
    """Package lists of an earlier test, so that apt need only ask whether they are still right."""
    if (CACHE / "apt" / "state").is_dir():
        shutil.copytree(CACHE / "apt" / "state", state / "apt" / "state", ignore_dangling_symlinks=True)


def debian_game(*packages: str) -> games.Game:
    game = games.get("teeworlds")
    return game.model_copy(update={"install": game.install.model_copy(update={"packages": packages})})


def install(game: games.Game, into: Path, run: PrintingRun | None = None) -> str:
    return installers.install(game, into=into, run=run or PrintingRun())  # type: ignore[arg-type]


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_the_practice_game_is_copied_and_its_version_tells_its_content(tmp_path: Path) -> None:
    first = install(games.get("practice"), tmp_path / "a")
    assert first == install(games.get("practice"), tmp_path / "b")
    assert first.startswith("builtin-")
    assert "practice/__main__.py" in files_in(tmp_path / "a")
    assert not any("__pycache__" in path for path in files_in(tmp_path / "a"))


@pytest.mark.games
@pytest.mark.usefixtures("lists")
def test_packages_are_unpacked_read_only_and_a_second_time_come_from_the_cache(state: Path, tmp_path: Path) -> None:
    version = install(debian_game(*TEEWORLDS), tmp_path / "first")
    binary = tmp_path / "first" / "usr" / "games" / "teeworlds-server"
    assert binary.stat().st_mode & 0o7777 == 0o555
    assert (tmp_path / "first" / "usr/share/games/teeworlds/data/maps/dm1.map").stat().st_mode & 0o777 == 0o444
    assert version.startswith("0.7.5") and len(version.rsplit("-", 1)[1]) == 8
    again = PrintingRun()
    assert install(debian_game(*TEEWORLDS), tmp_path / "second", again) == version
    assert not [line for line in again.lines if line.startswith("Get:") and "teeworlds" in line]
    assert files_in(tmp_path / "second") == files_in(tmp_path / "first")


@pytest.mark.games
@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("damage", ["cut short", "another content"])
def test_a_damaged_package_in_the_cache_is_downloaded_again(state: Path, tmp_path: Path, damage: str) -> None:
    install(debian_game("teeworlds-server"), tmp_path / "first")
    (cached,) = (state / "apt" / "archives").glob("*.deb")
    good = cached.read_bytes()
    cached.write_bytes(good[:100_000] if damage == "cut short" else good[:-1] + b"?")
    install(debian_game("teeworlds-server"), tmp_path / "second")
    assert cached.read_bytes() == good


@pytest.mark.games
@pytest.mark.usefixtures("lists")
def test_a_package_that_is_missing_is_named(state: Path, tmp_path: Path) -> None:
    with pytest.raises(
        installers.InstallError, match=r"Debian sources do not have left4me-no-such-game\. Ask an admin"
    ):
        install(debian_game("teeworlds-server", "left4me-no-such-game"), tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_without_a_network_it_says_so_and_leaves_nothing(state: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(debian, "_CONFIG", debian._CONFIG + 'Acquire::Retries "0";\n')
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(installers.InstallError, match=r"could not be fetched\. Check the network, then retry"):
        install(debian_game(*TEEWORLDS), tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.games
@pytest.mark.usefixtures("lists")
def test_a_disk_too_small_is_found_out_before_anything_is_downloaded(state: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(debian, "SPARE_BYTES", 2**60)
    with pytest.raises(installers.InstallError, match=r"Teeworlds needs [\d,]+ MiB of disk and the machine has"):
        install(debian_game(*TEEWORLDS), tmp_path / "into")
    assert not list((state / "apt" / "archives").glob("*.deb"))


@pytest.mark.games
@pytest.mark.usefixtures("lists")
@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="a small disk is mounted, which needs root")
def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(state: Path, tmp_path: Path, monkeypatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    monkeypatch.setattr(debian, "SPARE_BYTES", -(2**40))  # as if somebody else took the room after the check
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=True)
    try:
        with pytest.raises(installers.InstallError, match=r"could not be unpacked; .* disk has [01] MiB free"):
            install(debian_game(*TEEWORLDS), small / "into")
        assert not list(small.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.games
@pytest.mark.usefixtures("lists")
def test_a_cancelled_installation_leaves_nothing_but_what_was_downloaded(state: Path, tmp_path: Path) -> None:
    class Stopping(PrintingRun):
        def check(self) -> None:
            if any(line.startswith("Unpacking teeworlds-server") for line in self.lines):
                raise Cancelled("enough")

    with pytest.raises(Cancelled):
        install(debian_game(*TEEWORLDS), tmp_path / "into", Stopping())
    assert not (tmp_path / "into").exists()
    assert len(list((state / "apt" / "archives").glob("*.deb"))) == 2


def test_the_cache_of_packages_is_bounded(state: Path, monkeypatch) -> None:
    monkeypatch.setattr(debian, "CACHE_BYTES", 250)
    apt = debian._Apt(state / "apt", PrintingRun())  # type: ignore[arg-type]
    for age, name in enumerate(["new.deb", "used.deb", "middle.deb", "old.deb"]):
        (apt.archives / name).write_bytes(b"x" * 100)
        os.utime(apt.archives / name, (1000 - age, 1000 - age))
    apt.prune({"used.deb"})
    assert files_in(apt.archives) == {"used.deb", "new.deb"}


def test_links_are_turned_inside_and_those_that_lead_out_are_dropped(tmp_path: Path) -> None:
    root, log = tmp_path / "root", PrintingRun()
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "game.cfg").write_text("x")
    (root / "usr").mkdir()
    for name, target in {
        "absolute": "/etc/game.cfg", "relative": "../etc/game.cfg", "chain": "absolute", "folder": "/etc",
        "dangling": "nowhere", "out": "../../outside", "up": "../../../../../../etc/passwd", "system": "/etc/passwd",
        "loop": "loop", "through": "out", "late": "folder/../../..",
    }.items():  # fmt: skip
        (root / "usr" / name).symlink_to(target)
    (tmp_path / "outside").write_text("secret")
    tidy(root, log.log)
    assert set(os.listdir(root / "usr")) == {"absolute", "relative", "chain", "folder"}
    assert os.readlink(root / "usr" / "absolute") == "../etc/game.cfg"
    assert (root / "usr" / "chain").read_text() == "x"
    assert len(log.lines) == 7


def test_privileges_devices_and_write_access_are_taken_off(tmp_path: Path) -> None:
    root, log = tmp_path / "root", PrintingRun()
    root.mkdir()
    (root / "tool").write_text("x")
    (root / "tool").chmod(0o6777)
    (root / "data").write_text("x")
    (root / "open").mkdir(mode=0o777)
    (root / "open").chmod(0o3777)
    os.mkfifo(root / "pipe")
    tidy(root, log.log)
    assert {path.name: path.stat().st_mode & 0o7777 for path in root.iterdir()} == {
        "tool": 0o555, "data": 0o444, "open": 0o755,
    }  # fmt: skip
    assert log.lines == ["Left out pipe: it is neither a file, a folder nor a link."]
