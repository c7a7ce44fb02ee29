#!/usr/bin/env python3
"""Stands in for Valve's SteamCMD, which the test machines cannot reach: takes `+runscript FILE`, prints what it prints.

Lines and failures as users show them: https://developer.valvesoftware.com/wiki/SteamCMD,
https://docs.linuxgsm.com/steamcmd/errors, https://github.com/ValveSoftware/steam-for-linux/issues/11522 (Linux files
only after the Windows files were asked for), https://github.com/GameServerManagers/LinuxGSM/issues/719 (exit codes).
A folder tells it how to behave: `build` and `content/…` to install, `srcds_linux` as the program where the game is to
run, and in `failures` a kind of failure a line, each used once. What it was given is noted in `calls`.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path

HOW = Path(os.path.abspath(sys.argv[0])).parent / "steam"
ELF = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + b"an i386 program\n"
APP_ERRORS = {"subscription": "No subscription", "platform": "Invalid platform", "write": "Disk write failure"}
LOGIN_ERRORS = {
    "password": "FAILED (Invalid Password)",
    "guard": "FAILED (Account Logon Denied)\nThis computer has not been authenticated using Steam Guard.",
    "rate": "FAILED (Rate Limit Exceeded)",
}


def say(text: str) -> None:
    print(text, flush=True)


class Steam:
    def __init__(self) -> None:
        self.platform, self.into = "linux", Path()

    def run(self, lines: list[str]) -> int:
        say("Redirecting stderr to '/home/steam/logs/stderr.txt'")
        say("[  0%] Checking for available updates...")
        say("[----] Verifying installation...")
        say("Steam Console Client (c) Valve Corporation - version 1731433425")
        say("-- type 'quit' to exit --")
        say("Loading Steam API...OK")
        for line in lines:
            command, *words = shlex.split(line)
            if code := getattr(self, f"do_{command.strip('@')}", self.ignore)(*words):
                return code
        return 0

    def ignore(self, *words: str) -> int:
        return 0

    def do_sSteamCmdForcePlatformType(self, platform: str) -> int:
        say(f'"@sSteamCmdForcePlatformType" = "{platform}"')
        self.platform = platform
        return 0

    def do_force_install_dir(self, folder: str) -> int:
        self.into = Path(folder)
        return 0

    def do_login(self, name: str, password: str = "") -> int:
        if name == "anonymous":
            say("Connecting anonymously to Steam Public...OK")
        elif (kind := next_failure(*LOGIN_ERRORS)) is None:
            say(f"Logging in user '{name}' with password {password} to Steam Public...OK")
        else:
            say(f"Logging in user '{name}' to Steam Public...{LOGIN_ERRORS[kind]}")
            return 5
        say("Waiting for client config...OK")
        say("Waiting for user info...OK")
        return 0

    def do_app_update(self, app: str, *words: str) -> int:
        kind = next_failure(*APP_ERRORS, "0x202", "0x402", "0x602", "timeout", "hang", "hang-half")
        seen = self.into / "seen-windows"
        if kind is None and self.platform == "linux" and not seen.exists():
            kind = "platform"
        if kind in APP_ERRORS:
            say(f"ERROR! Failed to install app '{app}' ({APP_ERRORS[kind]})")
            return 8
        if kind == "timeout":
            say("ERROR! Timed out waiting for AppInfo update.")
            return 1
        return self.download(app, kind, seen)

    def download(self, app: str, kind: str | None, seen: Path) -> int:
        content = sorted(path for path in (HOW / "content").rglob("*") if path.is_file())
        for number, source in enumerate(content, 1):
            percent = 100 * number / len(content)
            say(f" Update state (0x61) downloading, progress: {percent:.2f} ({number * 1000} / {len(content) * 1000})")
            target = self.into / source.relative_to(HOW / "content")
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_bytes() != source.read_bytes():
                target.write_bytes(source.read_bytes())
                target.chmod(source.stat().st_mode)
                note("fetched", str(source.relative_to(HOW / "content")))
            if number == 1 and kind in ("0x202", "0x402", "0x602"):
                say(f"Error! App '{app}' state is {kind} after update job.")
                return 8
            if number == 1 and kind == "hang":
                time.sleep(600)
        say(" Update state (0x81) verifying update, progress: 50.00 (500 / 1000)")
        seen.touch()
        if self.platform == "linux" and not (HOW / "no-linux").exists():
            (self.into / "srcds_linux").unlink(missing_ok=True)
            program = HOW / "srcds_linux"
            (self.into / "srcds_linux").write_bytes(program.read_bytes() if program.exists() else ELF)
            (self.into / "srcds_linux").chmod(0o755)
        (self.into / "steamapps").mkdir(exist_ok=True)
        (self.into / "steamapps" / f"appmanifest_{app}.acf").write_text(
            f'"AppState"\n{{\n\t"appid"\t\t"{app}"\n\t"buildid"\t\t"{(HOW / "build").read_text()}"\n}}\n'
        )
        say(f"Success! App '{app}' fully installed.")
        return 0

    def do_app_info_print(self, app: str) -> int:
        build = (HOW / "build").read_text()
        say(f"AppID : {app}, change number : 26182341/0, last change : Mon Nov 18 10:00:00 2024")
        say(f'"{app}"\n{{\n\t"depots"\n\t{{\n\t\t"branches"\n\t\t{{\n\t\t\t"public"\n\t\t\t{{')
        say(f'\t\t\t\t"buildid"\t\t"{build}"\n\t\t\t\t"timeupdated"\t\t"1731925200"\n\t\t\t}}\n\t\t}}\n\t}}\n}}')
        return 0


def next_failure(*kinds: str) -> str | None:
    """Takes the first failure that is asked for, if it is one of `kinds`."""
    path = HOW / "failures"
    first, _, rest = (path.read_text() if path.exists() else "").partition("\n")
    if first not in kinds:
        return None
    path.write_text(rest)
    return first


def note(kind: str, fact: object) -> None:
    with (HOW / "calls").open("a") as file:
        file.write(json.dumps([kind, fact]) + "\n")


def main() -> int:
    script = Path(sys.argv[2])
    note("argv", sys.argv[1:])
    note("script", [script.stat().st_mode & 0o777, script.parent.stat().st_mode & 0o777, script.read_text()])
    note("environment", dict(os.environ))
    return Steam().run(script.read_text().splitlines())


if __name__ == "__main__":
    sys.exit(main())
