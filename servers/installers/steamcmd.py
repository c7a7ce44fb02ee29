"""Installs a game from Steam: SteamCMD downloads into a working folder, which becomes the version once it is whole.

An interrupted download stays in the working folder, and the next try goes on with it; an update begins with a copy of
the version before, so that SteamCMD fetches only what changed. What SteamCMD is told goes into a script that only we
can read: its arguments are seen in the list of processes, and a Steam login is a secret.
Commands: https://developer.valvesoftware.com/wiki/SteamCMD.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from jobs import process
from jobs.run import Run
from servers.games.schema import Game, SteamcmdInstall
from servers.installers.steam_output import Output
from servers.installers.tree import InstallError
from servers.installers.turns import turn
from servers.runtime.deleting import delete_tree

UPDATE_SECONDS, ASK_SECONDS = 4 * 3600, 300
ATTEMPTS = 3  # of one download: Steam's servers now and then give up, and it goes on where it was
ELF_X86 = {3, 62}  # e_machine of i386 and x86-64, https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
# Its library asks for one, which glibc refuses from 2.41 on (https://sourceware.org/bugzilla/show_bug.cgi?id=32653).
EXECUTABLE_STACK = "glibc.rtld.execstack=2"
HOW_TO_GET = (
    "SteamCMD is not on this machine. Ask an admin to install Debian's package steamcmd (non-free, architecture i386), "
    "or to unpack Valve's archive so that {place} is there."
)


class Login(NamedTuple):
    """Whom SteamCMD signs in as; without a password, anybody."""

    name: str = "anonymous"
    password: str = ""


def install(game: Game, method: SteamcmdInstall, into: Path, former: Path | None, run: Run) -> str:
    """Put the app's files into `into`, an empty folder, and return its build's number.

    `former`: the version to begin with. Raises `InstallError`; what was downloaded until then is kept.
    """
    root = _root()
    program, login = find_program(), read_login()
    with turn(root / "lock", run):
        work = root / "work" / game.slug
        _check_space(game, method, work)
        _begin(run, work, former)
        for number, platform in enumerate(method.platforms):
            output = Output(
                run, login.password, begin=95 * number / len(method.platforms), share=95 / len(method.platforms)
            )
            _update(run, program, _commands(method, login, work, platform), method.app, output)
        version = _build_number(work, method.app)
        _check_program(game, work)
        for leftover in ("downloading", "temp"):
            delete_tree(work / "steamapps" / leftover)
        into.rmdir()
        work.rename(into)
    return version


def salvage(game: Game, folder: Path) -> None:
    """Take back the files of a version that is given up, so that the next try need not download them again.

    Not when it shares files with another version: into those nobody may write.
    """
    work = _root() / "work" / game.slug
    paths = [folder, *folder.rglob("*")]
    if work.exists() or any(path.is_file() and path.lstat().st_nlink > 1 for path in paths):
        return
    for path in paths:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    folder.rename(work)


def newest_build(method: SteamcmdInstall, run: Run) -> str:
    """The number of the build that an installation would give now. Raises `InstallError`."""
    root = _root()
    program, login = find_program(), read_login()
    lines: list[str] = []
    with turn(root / "lock", run):
        commands = [_sign_in(login), "app_info_update 1", f"app_info_print {method.app}", "quit"]
        _call(run, program, commands, lines.append, ASK_SECONDS)
    if build := read_build(method.branch, "\n".join(lines)):
        return build
    raise InstallError("Steam did not say which build is the newest. Try again later.")


def read_build(branch: str, text: str) -> str:
    """The number of the branch's build in what `app_info_print` prints; nothing where it is not told."""
    _, _, branches = text.partition('"branches"')
    found = re.search(rf'"{re.escape(branch)}"\s*{{([^}}]*)', branches)
    build = found and re.search(r'"buildid"\s+"(\d{1,20})"', found[1])
    return build[1] if build else ""


def find_program() -> str:
    """SteamCMD in PATH, or where Valve's archive was unpacked. Raises `InstallError`."""
    own = Path(settings.STATE_DIR) / "steamcmd" / "steamcmd.sh"
    found = shutil.which("steamcmd") or shutil.which("steamcmd", path="/usr/games")
    if not found and not own.is_file():
        raise InstallError(HOW_TO_GET.format(place=own))
    return found or str(own)


def read_login() -> Login:
    """Name and password, a line each, from the file that settings.STEAM_LOGIN_FILE names; anonymous without one."""
    path = Path(settings.STEAM_LOGIN_FILE)
    try:
        text, mode = path.read_text(), path.stat().st_mode
    except FileNotFoundError:
        return Login()
    except (OSError, UnicodeDecodeError) as error:
        raise InstallError(f"The Steam login in {path} cannot be read. Ask an admin to look at it.") from error
    if mode & stat.S_IRWXO:
        raise InstallError(
            f"Everybody on the machine can read the Steam login in {path}. Ask an admin to chmod it to 640."
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 2 or any(not line.isprintable() or set(line) & set(' "\\;') for line in lines):
        raise InstallError(
            f"{path} has to hold two lines, a Steam account's name and its password, without blanks, quotes, "
            "semicolons and backslashes. Ask an admin to mend it."
        )
    return Login(*lines)


def _root() -> Path:
    """SteamCMD's own place; only we may look into it."""
    root = Path(settings.STATE_DIR).resolve() / "steamcmd"
    for folder in (root, root / "home", root / "work"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def _check_space(game: Game, method: SteamcmdInstall, work: Path) -> None:
    there = sum(path.lstat().st_size for path in work.rglob("*")) if work.exists() else 0
    needed = max(0, (method.disk_gib << 30) - there)
    free = shutil.disk_usage(work.parent).free
    if free < needed:
        raise InstallError(
            f"{game.name} needs {needed / 2**30:.1f} GiB of disk and the machine has {free / 2**30:.1f} GiB free. "
            "Ask an admin to make room, then retry."
        )


def _begin(run: Run, work: Path, former: Path | None) -> None:
    """The working folder: what an interrupted try left, else a copy of the former version that can be written."""
    if work.exists():
        run.log("Going on with what an earlier try has downloaded.")
        return
    if former is None or not former.is_dir():
        work.mkdir()
        return
    run.log("Beginning with a copy of the version before.")
    partial = work.with_name(f"{work.name}.partial")
    delete_tree(partial)
    run.call(["cp", "--archive", "--reflink=auto", "--", str(former), str(partial)], timeout=UPDATE_SECONDS)
    run.call(["chmod", "--recursive", "u+w", "--", str(partial)], timeout=ASK_SECONDS)
    partial.rename(work)


def _commands(method: SteamcmdInstall, login: Login, work: Path, platform: str) -> list[str]:
    branch = f" -beta {method.branch}" if method.branch != "public" else ""
    return [
        "@ShutdownOnFailedCommand 1",
        "@NoPromptForPassword 1",
        f"@sSteamCmdForcePlatformType {platform}",
        f'force_install_dir "{work}"',
        _sign_in(login),
        f"app_update {method.app}{branch} validate",
        "quit",
    ]


def _sign_in(login: Login) -> str:
    return f"login {login.name} {login.password}".rstrip()


def _update(run: Run, program: str, commands: list[str], app: int, output: Output) -> None:
    """One platform's files, with another try when Steam gives up half-way. Raises `InstallError`."""
    for attempt in range(1, ATTEMPTS + 1):
        _call(run, program, commands, output.line, UPDATE_SECONDS)
        if output.is_complete(app):
            return
        failure = output.failure()
        if attempt == ATTEMPTS or not failure.may_pass:
            raise InstallError(f"{failure.sentence} What was downloaded is kept for the next try.")
        run.log("Steam gave up. Trying again, from where it was.")
        output.begin_again()


def _call(run: Run, program: str, commands: list[str], on_line: Callable[[str], None], timeout: float) -> None:
    with _script(commands) as script:
        env = {"HOME": str(_root() / "home"), "GLIBC_TUNABLES": EXECUTABLE_STACK}
        process.run([program, "+runscript", str(script)], timeout=timeout, env=env, on_line=on_line, check=run.check)


@contextlib.contextmanager
def _script(commands: list[str]) -> Iterator[Path]:
    """A file of SteamCMD's commands, readable by us alone, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="script-", dir=_root()) as folder:
        path = Path(folder, "commands.txt")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(commands) + "\n")
        yield path


def _build_number(work: Path, app: int) -> str:
    try:
        text = (work / "steamapps" / f"appmanifest_{app}.acf").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r'"buildid"\s+"(\d{1,20})"', text)
    if not found:
        raise InstallError("SteamCMD ended without saying which build it downloaded. Retry.")
    return found[1]


def _check_program(game: Game, work: Path) -> None:
    """`InstallError` unless the program to run is one for Linux: Steam may have given other platforms' files only."""
    place = game.run.argv[0].removeprefix("{merged}/")
    try:
        with (work / place).open("rb") as file:
            header = file.read(20)
    except OSError:
        header = b""
    if header[:4] != b"\x7fELF" or int.from_bytes(header[18:20], "little") not in ELF_X86:
        raise InstallError(
            f"Steam gave no Linux program {place} of {game.name}. Retry; if it stays so, ask an admin to set a Steam "
            "login of an account that owns the game."
        )
