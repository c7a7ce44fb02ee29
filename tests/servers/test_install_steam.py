"""Installing from Steam, with a stand-in for SteamCMD: what it is told, how its failures read, what a retry keeps."""

import json
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from jobs.run import Cancelled
from servers import games, installers
from servers.installers import steamcmd
from tests.games_cache import PrintingRun
from tests.stack import wait_for

GIB = 2**30


class Steam:
    """A machine whose PATH has the stand-in, and what it was told."""

    def __init__(self, folder: Path) -> None:
        program = folder / "steamcmd"
        program.write_text(
            Path("tests/steamcmd_standin.py").read_text().replace("/usr/bin/env python3", sys.executable)
        )
        program.chmod(0o755)
        self.how = folder / "steam"
        (self.how / "content").mkdir(parents=True)
        self.offer("1001", maps="first", data="same")

    def offer(self, build: str, **files: str) -> None:
        (self.how / "build").write_text(build)
        for name, text in files.items():
            (self.how / "content" / name).write_text(text)

    def fail(self, *kinds: str) -> None:
        (self.how / "failures").write_text("\n".join(kinds))

    def told(self, kind: str) -> list:
        calls = self.how / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [fact for name, fact in map(json.loads, lines) if name == kind]


@pytest.fixture
def steam(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steam:
    settings.STATE_DIR = tmp_path / "state"
    settings.STEAM_LOGIN_FILE = tmp_path / "steam-login"
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    free = shutil.disk_usage(tmp_path)._replace(free=20 * GIB)
    monkeypatch.setattr(steamcmd.shutil, "disk_usage", lambda _path: free)
    return Steam(tmp_path / "bin")


def install(into: Path, run: PrintingRun | None = None, former: Path | None = None) -> str:
    game = games.get("left4dead2")
    return installers.install(game, into=into, run=run or PrintingRun(), former=former)  # type: ignore[arg-type]


class Progress(PrintingRun):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def progress(self, percent: float) -> None:
        super().progress(percent)
        self.seen.append(percent)


def test_the_windows_files_are_asked_for_first_and_then_those_for_linux(steam: Steam, tmp_path: Path) -> None:
    run = Progress()
    assert install(tmp_path / "into", run) == "1001"
    scripts = [text for _, _, text in steam.told("script")]
    assert [line for text in scripts for line in text.splitlines() if "Platform" in line or "app_update" in line] == [
        "@sSteamCmdForcePlatformType windows", "app_update 222860 validate",
        "@sSteamCmdForcePlatformType linux", "app_update 222860 validate",
    ]  # fmt: skip
    assert all("login anonymous\n" in text for text in scripts)
    assert (tmp_path / "into" / "srcds_linux").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "into" / "maps").stat().st_mode & 0o777 == 0o444
    assert run.seen == sorted(run.seen)
    assert [round(percent) for percent in run.seen] == [21, 43, 43, 69, 90, 90]


def test_a_login_is_in_no_argument_no_log_and_no_variable_and_its_script_is_gone(
    steam: Steam, tmp_path: Path, settings
) -> None:
    settings.STEAM_LOGIN_FILE.write_text("gordon\nhunter2#€\n")
    settings.STEAM_LOGIN_FILE.chmod(0o640)
    run = PrintingRun()
    install(tmp_path / "into", run)
    for file_mode, folder_mode, text in steam.told("script"):
        assert (file_mode, folder_mode) == (0o600, 0o700)
        assert "login gordon hunter2#€\n" in text
    assert "hunter2" not in json.dumps([steam.told("argv"), steam.told("environment"), run.lines])
    assert any("password •••" in line for line in run.lines)
    assert list((settings.STATE_DIR / "steamcmd").glob("script-*")) == []


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [("a\nb\n", 0o644, "Everybody on the machine"), ("a\n", 0o600, "two lines"), ("a\nb c\n", 0o600, "two lines"),
     ('a\nb"c\n', 0o600, "two lines"), ("a\nb;quit\n", 0o600, "two lines")],
)  # fmt: skip
def test_a_login_that_is_open_or_would_become_a_command_is_refused(
    steam: Steam, tmp_path: Path, settings, text: str, mode: int, reason: str
) -> None:
    settings.STEAM_LOGIN_FILE.write_text(text)
    settings.STEAM_LOGIN_FILE.chmod(mode)
    with pytest.raises(installers.InstallError, match=reason):
        install(tmp_path / "into")
    assert not steam.told("argv")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("subscription", "only to an account that owns it"),
        ("platform", "no Linux files of this game"),
        ("write", "could not be written"),
        ("0x202", "disk is full"),
    ],
)
def test_what_steam_refuses_is_told_with_what_to_do(steam: Steam, tmp_path: Path, failure: str, reason: str) -> None:
    steam.fail(failure)
    with pytest.raises(installers.InstallError, match=reason):
        install(tmp_path / "into")
    assert len(steam.told("argv")) == 1
    assert not (tmp_path / "into").exists()
    assert install(tmp_path / "into") == "1001"


@pytest.mark.parametrize(
    ("failure", "reason"), [("password", "does not accept the login"), ("guard", "Steam Guard"), ("rate", "in an hour")]
)
def test_so_is_a_login_that_fails(steam: Steam, tmp_path: Path, settings, failure: str, reason: str) -> None:
    settings.STEAM_LOGIN_FILE.write_text("gordon\nhunter2\n")
    settings.STEAM_LOGIN_FILE.chmod(0o600)
    steam.fail(failure)
    with pytest.raises(installers.InstallError, match=reason):
        install(tmp_path / "into")
    assert len(steam.told("argv")) == 1


@pytest.mark.parametrize("failure", ["0x402", "0x602", "timeout"])
def test_when_steam_gives_up_half_way_it_is_asked_again_a_few_times(steam: Steam, tmp_path: Path, failure: str) -> None:
    steam.fail(failure)
    assert install(tmp_path / "one") == "1001"
    steam.fail(*[failure] * 3)
    with pytest.raises(installers.InstallError, match=r"What was downloaded is kept"):
        install(tmp_path / "two")
    assert install(tmp_path / "two") == "1001"


def test_an_interrupted_download_goes_on_where_it_was(steam: Steam, tmp_path: Path, settings) -> None:
    stop = threading.Event()

    class Stopping(PrintingRun):
        def check(self) -> None:
            if stop.is_set():
                raise Cancelled("enough")

    def interrupt() -> None:
        wait_for(lambda: steam.told("fetched") == ["data"], seconds=30, what="the first file")
        stop.set()

    steam.fail("hang")
    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(Cancelled):
        install(tmp_path / "into", Stopping())
    watcher.join()
    assert not (tmp_path / "into").exists()
    assert list((settings.STATE_DIR / "steamcmd").glob("script-*")) == []
    run = PrintingRun()
    assert install(tmp_path / "into", run) == "1001"
    assert any("Going on with" in line for line in run.lines)
    assert steam.told("fetched") == ["data", "maps"]


def test_an_update_fetches_what_changed_and_writes_nothing_into_the_version_before(
    steam: Steam, tmp_path: Path
) -> None:
    install(tmp_path / "first")
    steam.offer("1002", maps="second")
    assert install(tmp_path / "second", former=tmp_path / "first") == "1002"
    assert steam.told("fetched") == ["data", "maps", "maps"]
    assert ((tmp_path / "first" / "maps").read_text(), (tmp_path / "second" / "maps").read_text()) == (
        "first",
        "second",
    )


def test_a_version_that_is_given_up_need_not_be_downloaded_again(steam: Steam, tmp_path: Path) -> None:
    game = games.get("left4dead2")
    install(tmp_path / "first")
    installers.give_up(game, tmp_path / "first")
    assert not (tmp_path / "first").exists()
    assert install(tmp_path / "again") == "1001"
    assert steam.told("fetched") == ["data", "maps"]
    os.link(tmp_path / "again" / "data", tmp_path / "another version's")
    installers.give_up(game, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    install(tmp_path / "anew")
    assert steam.told("fetched") == ["data", "maps"] * 2


def test_files_of_another_platform_alone_are_refused(steam: Steam, tmp_path: Path) -> None:
    (steam.how / "no-linux").touch()
    steam.offer("1001", srcds_linux="MZ this is for Windows")
    with pytest.raises(installers.InstallError, match="no Linux program srcds_linux"):
        install(tmp_path / "into")


def test_a_disk_too_small_is_found_out_before_anything_is_downloaded(
    steam: Steam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=5 * GIB)
    monkeypatch.setattr(steamcmd.shutil, "disk_usage", lambda _path: free)
    with pytest.raises(installers.InstallError, match=r"needs 12\.0 GiB of disk and the machine has 5\.0 GiB free"):
        install(tmp_path / "into")
    assert not steam.told("argv")


def test_without_steamcmd_it_says_where_to_get_it_and_finds_valves_own(
    steam: Steam, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(installers.InstallError, match="Debian's package steamcmd"):
        install(tmp_path / "into")
    own = settings.STATE_DIR / "steamcmd" / "steamcmd.sh"
    own.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(steam.how, own.with_name("steam"))
    shutil.copy2(tmp_path / "bin" / "steamcmd", own)
    assert install(tmp_path / "into") == "1001"


def test_steam_is_asked_for_the_newest_build(steam: Steam) -> None:
    method = games.get("left4dead2").install
    assert steamcmd.newest_build(method, PrintingRun()) == "1001"  # type: ignore[arg-type]
    steam.offer("1002")
    assert steamcmd.newest_build(method, PrintingRun()) == "1002"  # type: ignore[arg-type]
