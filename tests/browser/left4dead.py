"""What the journey with Left 4 Dead 2 needs of the world around the portal: Steam, its Workshop, and an archive."""

import io
import os
import re
import shutil
import struct
import sys
import zipfile
from pathlib import Path

from django.conf import settings

from tests.servers.addons import campaign, vpk
from tests.servers.steam import Steam
from tests.stack import Stack, game_port

RULES = "scripts/vscripts/director_base_addon.nut"
OLD_BANS = "banid 0 STEAM_1:1:9876543\r\n"


def program(interpreter: str, *arguments: str) -> bytes:
    """An x86-64 ELF file that executes `interpreter` with `arguments`, then its own: made here, as nobody has srcds.

    At its entry the stack has argc, argv[0], argv[1], …, NULL, the environment (System V ABI for AMD64, 3.4.1). The
    words come to stand where argc and argv[0] were and below, so that the rest of argv follows them.
    """
    words = [interpreter, *arguments]
    base, code_at = 0x400000, 64 + 56
    push = b"\xff\x35%b"  # push [rip + offset of a pointer]
    start = b"\x48\x8b\x04\x24\x48\x8d\x54\xc4\x10"  # mov rax, [rsp]; lea rdx, [rsp + rax*8 + 16]: the environment
    start += b"\x48\x83\xc4\x10"  # add rsp, 16: argc and argv[0] are not needed
    end = b"\x48\x8b\x3c\x24\x48\x89\xe6\xb8\x3b\0\0\0\x0f\x05"  # rdi = [rsp]; rsi = rsp; execve
    end += b"\xbf\x7f\0\0\0\xb8\x3c\0\0\0\x0f\x05"  # exit(127)
    pointers_at = code_at + len(start) + 6 * len(words) + len(end)
    texts_at, texts, pointers, pushes = pointers_at + 8 * len(words), b"", b"", b""
    for number, word in enumerate(reversed(words)):
        after = code_at + len(start) + 6 * (number + 1)
        pushes += push % struct.pack("<i", pointers_at + 8 * number - after)
        pointers += struct.pack("<Q", base + texts_at + len(texts))
        texts += word.encode() + b"\0"
    body = start + pushes + end + pointers + texts
    size = code_at + len(body)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + code_at, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return header + load + body


def offer_game(portal: Stack, folder: Path) -> None:
    """SteamCMD is on the portal's PATH and gives the stand-in of the game; its ports are ones that nobody else uses."""
    how = folder / "bin" / "steam"
    (how / "content" / "left4dead2" / "cfg").mkdir(parents=True)
    steamcmd = Path("tests/steamcmd_standin.py").read_text().replace("/usr/bin/env python3", sys.executable)
    (folder / "bin" / "steamcmd").write_text(steamcmd)
    (folder / "bin" / "steamcmd").chmod(0o755)
    portal.environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    (how / "build").write_text("15543522")
    python = getattr(sys, "_base_executable", "") or sys.executable
    (how / "srcds_linux").write_bytes(program(python, "-EsBu", "srcds.py"))
    shutil.copy("tests/srcds_standin.py", how / "content" / "srcds.py")
    shutil.copytree(
        "servers/games/practice", how / "content" / "practice", ignore=shutil.ignore_patterns("__pycache__")
    )
    text = Path(settings.BASE_DIR, "servers/games/left4dead2.toml").read_text()
    ours = re.sub(r"from = \d+\nto = \d+", lambda _: f"from = {(port := game_port())}\nto = {port + 9}", text)
    Path(portal.environment["LEFT4ME_GAMES_DIR"], "left4dead2.toml").write_text(ours)


def fill_workshop(steam: Steam) -> None:
    """Two items: a campaign that can be played as versus, and rules for the director."""
    steam.item("3155010001", "Dead Line", campaign("deadline", "Dead Line", "dl_m1_station"))
    steam.item("3155010002", "More tanks", vpk({RULES: b"DirectorOptions <- { TankLimit = 2 }\n"}))


def club_archive() -> bytes:
    """What a club keeps: rules of its own, which are in one of the items too, and whom it does not let in."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("left4dead2/addons/club.vpk", vpk({RULES: b"DirectorOptions <- { TankLimit = 0 }\n"}))
        archive.writestr("left4dead2/cfg/banned_user.cfg", OLD_BANS)
    return made.getvalue()
