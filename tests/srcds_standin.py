"""Stands in for Left 4 Dead 2's dedicated server, whose files the test machines cannot get: takes its arguments, reads
its config files and add-ons, prints what it prints, and answers A2S and RCON. Run as `srcds.py` beside `practice`.

Its ways: server.cfg is executed at every map (developer.valvesoftware.com/wiki/Server.cfg), `writeid` writes
cfg/banned_user.cfg, `status` has a slot behind each userid, VPK directories as in wiki/VPK_(file_format), addonlist.txt
as in Valve's engine/filesystem_engine.cpp.
"""

import asyncio
import re
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from practice import a2s, world
from practice.rcon import Rcon

GAME = Path("left4dead2")
CVARS = {
    "hostname": "Left 4 Dead 2", "map": "", "rcon_password": "", "sv_password": "", "sv_tags": "", "sv_steamgroup": "",
    "sv_visiblemaxplayers": "-1", "z_difficulty": "Normal", "mp_gamemode": "coop", "sv_allow_lobby_connect_only": "1",
    "sv_cheats": "0", "sv_alltalk": "0", "sv_lan": "0", "sv_pure": "0", "sv_minrate": "5000", "sv_maxrate": "10000",
    "sv_minupdaterate": "10", "sv_maxupdaterate": "60", "sv_mincmdrate": "0", "sv_maxcmdrate": "40", "sv_region": "-1",
    "sv_logecho": "1", "tv_delay": "10", "tv_maxclients": "128", "tv_password": "", "tv_enable": "0", "tv_port": "0",
}  # fmt: skip
FRIENDS = {  # who come to play, and their Steam ids
    "Zoey ✿": "STEAM_1:0:104412", "n1ck": "STEAM_1:1:2203", "[GoD] Ellis": "STEAM_1:0:7717031", "Coach": "STEAM_1:1:40",
    'Bill "old" O.': "STEAM_1:0:55120",
}  # fmt: skip


def inside(package: Path) -> Iterator[str]:
    """The paths in a VPK's directory."""
    data = package.read_bytes()
    _, version, _size = struct.unpack_from("<III", data)
    place = 12 if version == 1 else 28

    def text() -> str:
        nonlocal place
        end = data.index(b"\0", place)
        found, place = data[place:end].decode(), end + 1
        return found

    while extension := text():
        while folder := text():
            while name := text():
                place += 18 + struct.unpack_from("<H", data, place + 4)[0]
                yield f"{folder}/{name}.{extension}"


class Srcds(world.World):
    """A server of Left 4 Dead 2 on which five friends play."""

    def __init__(self, say, stop, launch: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
        super().__init__(say, stop)
        self.cvars = CVARS | {name[1:]: value for name, value in launch.items() if name[:1] == "+"}
        self.expected = list(FRIENDS)
        self._commands |= {"exec": self._exec, "log": lambda _: "", "maps": self._maps}
        suppliers: dict[str, list[str]] = {}
        for name in self._reconcile_addon_list():
            for path in inside(GAME / "addons" / name):
                suppliers.setdefault(path, []).append(name)
        self.addon_maps = {Path(path).stem for path in suppliers if path.startswith("maps/") and path.endswith(".bsp")}
        for path, names in suppliers.items():
            if len(names) > 1:
                say(f"{path} is taken from {names[0]}")

    def _reconcile_addon_list(self) -> list[str]:
        """Those listed that are there, then those that are not listed; the list is saved."""
        file, there = GAME / "addonlist.txt", [package.name for package in (GAME / "addons").glob("*.vpk")]
        listed = re.findall(r'^\s*"([^"]+)"\s+"1"', file.read_text(), re.MULTILINE) if file.exists() else []
        names = list(dict.fromkeys([*(name for name in listed if name in there), *sorted(there)]))
        file.write_text('"AddonList"\n{\n' + "".join(f'\t"{name}"\t\t"1"\n' for name in names) + "}\n")
        return names

    def load(self, level: str) -> None:
        self.cvars["map"] = level
        self.say(f"-------- Mapchange to {level} --------")
        self._exec(["server.cfg"])
        self.say(f'Started map "{level}" (CRC "fb2b4fb4")')

    def step(self) -> None:
        """Whoever is expected and not banned joins; then they play, and nobody leaves by himself."""
        if self.expected:
            name = self.expected.pop(0)
            if FRIENDS[name] in self.banned:
                self.say(f'Client "{name}" <{FRIENDS[name]}> rejected: banned.')
                return
            self.players.append(world.Player(next(self._userids), name))
            self.say(f'Client "{name}" connected (84.112.30.7:27005).')
        elif self.players:
            player = world.chance.choice(self.players)
            player.score += 1
            self.say(f'"{player.name}<{player.userid}><{FRIENDS[player.name]}><Survivor>" killed "Hunter" with "rifle"')

    def _exists(self, level: str) -> bool:
        return level in self.addon_maps or bool(re.fullmatch(r"c\d{1,2}m\d_[a-z_]+", level))

    def _exec(self, arguments: list[str]) -> str:
        path = GAME / "cfg" / (arguments or [""])[0]
        if not path.is_file():
            return f"exec: couldn't exec {path.name}"
        self.say(f"Executing {path.name}")
        for line in path.read_text().splitlines():
            if answer := self.execute(line).strip():
                self.say(answer)
        return ""

    def _maps(self, _: list[str]) -> str:
        return "\n".join(f"PENDING:   (fs) {name}.bsp" for name in ["c1m1_hotel", *sorted(self.addon_maps)])

    def _changelevel(self, arguments: list[str]) -> str:
        if not arguments or not self._exists(arguments[0]):
            return f"changelevel failed: {' '.join(arguments)} not found"
        self.load(arguments[0])
        return ""

    def _status(self, _: list[str]) -> str:
        rows = [
            f"hostname: {self.cvars['hostname']}",
            "version : 2.2.4.3 8801 secure  (unknown)",
            "udp/ip  : 127.0.0.1:27015 [ public n/a ]",
            "os      : Linux Dedicated",
            f"map     : {self.cvars['map']}",
            f"players : {len(self.players)} humans, 0 bots ({self.max_players} max) "
            f"({'not ' if self.players else ''}hibernating) (unreserved)",
            "",
            "# userid name uniqueid connected ping loss state rate adr",
        ]
        for slot, player in enumerate(self.players, 1):
            minutes, seconds = divmod(int(player.seconds), 60)
            rows.append(
                f'# {player.userid:2} {slot} "{player.name}" {FRIENDS[player.name]} '
                f"{minutes:02}:{seconds:02} {40 + slot} 0 active 30000 84.112.30.{slot}:27005"
            )
        return "\n".join([*rows, "#end"])

    def _banid(self, arguments: list[str]) -> str:
        """`banid MINUTES USERID kick`, or `banid MINUTES STEAMID` as banned_user.cfg has it."""
        if (arguments or [""])[-1].startswith("STEAM_"):
            self.banned.append(arguments[-1])
            return ""
        for player in [one for one in self.players if arguments[1:2] == [str(one.userid)]]:
            self.banned.append(FRIENDS[player.name])
            self._leave(player, "Kicked and banned by Console")
        return ""

    def _writeid(self, _: list[str]) -> str:
        lines = "".join(f"banid 0 {one}\r\n" for one in dict.fromkeys(self.banned))
        (GAME / "cfg" / "banned_user.cfg").write_text(lines)
        return ""


class Answers(a2s.A2S):
    """Info with the game's own names; the rest as practice gives it."""

    def _answer(self, request: bytes) -> tuple[bytes, bytes]:
        if not request.startswith(a2s.INFO):
            return super()._answer(request)
        cvars, text = self.world.cvars, a2s._text
        answer = b"I\x11" + b"".join(map(text, (cvars["hostname"], cvars["map"], "left4dead2", "Left 4 Dead 2")))
        answer += struct.pack("<HBBB", 550, len(self.world.players), self.world.max_players, 0)
        answer += b"dl" + bytes([bool(cvars["sv_password"]), 1]) + text("2.2.4.3")
        answer += b"\xa1" + struct.pack("<H", self.port) + text(cvars["sv_tags"]) + struct.pack("<Q", 550)
        return answer, request[len(a2s.INFO) :]


def say(line: str) -> None:
    print("".join(c if c.isprintable() else "?" for c in line), flush=True)


async def main(launch: dict[str, str]) -> None:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    game = Srcds(say, stopped.set, launch)
    address, port = launch["-ip"], int(launch["-port"])
    loop.add_signal_handler(signal.SIGINT, stopped.set)
    await loop.create_datagram_endpoint(lambda: Answers(game, port), local_addr=(address, port))
    server = await asyncio.start_server(Rcon(game).serve, address, port)
    say(f"Network: IP {address}, mode MP, dedicated Yes, ports {port} SV / {launch['+tv_port']} TV")
    game.load(launch["+map"])
    say("Connection to Steam servers successful.")
    while not stopped.is_set():
        game.step()
        try:
            await asyncio.wait_for(stopped.wait(), 0.2 if game.expected else 3)
        except TimeoutError:
            continue
    say("Server shutting down")
    server.close()


def read_arguments(arguments: list[str]) -> dict[str, str]:
    """`-port 27015 +map x -console` as names with what follows each."""
    pairs = zip(arguments, [*arguments[1:], "-"], strict=True)
    return {name: "" if value[:1] in "-+" else value for name, value in pairs if name[:1] in "-+"}


if __name__ == "__main__":
    asyncio.run(main(read_arguments(sys.argv[1:])))
