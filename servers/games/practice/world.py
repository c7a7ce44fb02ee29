"""What the practice server pretends: a map, players who come and go, and the console commands of a Source server."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from . import plugins

MAPS = ("c1m1_hotel", "c1m2_streets", "c2m1_highway", "c5m1_waterfront", "c8m1_apartment")
NAMES = ("Coach", "Ellis", "Nick", "Rochelle", "Bill", "Francis", "Louis", "Zoey")
HIDDEN = {"rcon_password", "sv_password"}
chance = random.Random()  # noqa: S311 - make-believe, no secret
_LISTS: dict[str, Callable[[list[str]], str | None]] = {"meta": plugins.meta, "sm": plugins.sourcemod}
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')


def words(line: str) -> list[str]:
    """A console line as its words; quotes hold one together, `//` outside quotes begins a comment."""
    found = []
    for quoted, bare in _WORD.findall(line):
        if bare.startswith("//"):
            break
        found.append(quoted or bare)
    return found


@dataclass
class Player:
    """A simulated player."""

    userid: int
    name: str
    score: int = 0
    joined: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.joined


CVARS = {
    "hostname": "practice",
    "map": MAPS[0],
    "sv_visiblemaxplayers": "8",
    "demo_players": "4",
    "demo_leaving": "1",
    "sv_password": "",
    "sv_tags": "",
    "rcon_password": "",
    "mp_gamemode": "coop",
} | {f"practice_filler_{number:03}": str(number) for number in range(200)}


class World:
    """The whole state. `say` prints a console line; `stop` ends the process."""

    def __init__(self, say: Callable[[str], None], stop: Callable[[], None]) -> None:
        self.say = say
        self.stop = stop
        self.players: list[Player] = []
        self.cvars = dict(CVARS)
        self.banned: list[str] = []
        self._userids = count(2)
        self._commands = self._known_commands()

    def _known_commands(self) -> dict[str, Callable[[list[str]], str]]:
        return {
            "status": self._status,
            "users": self._users,
            "changelevel": self._changelevel,
            "map": self._changelevel,
            "maps": lambda _: "\n".join(f"PENDING:   (fs) {name}.bsp" for name in MAPS),
            "say": self._say,
            "echo": " ".join,
            "kickid": self._kickid,
            "banid": self._banid,
            "writeid": self._writeid,
            "listid": lambda _: "\n".join([f"ID filter list: {len(self.banned)} entries", *self.banned]),
            "cvarlist": self._cvarlist,
            "help": lambda _: "Commands: " + ", ".join(sorted(self._commands)),
            "quit": self._quit,
            "exit": self._quit,
        }

    def configure(self, text: str) -> None:
        """Take over `name value` lines of a server.cfg."""
        for line in text.splitlines():
            if found := words(line):
                self.cvars[found[0].lower()] = " ".join(found[1:])[:200]

    @property
    def max_players(self) -> int:
        return self._number("sv_visiblemaxplayers", 1, 32)

    def _number(self, cvar: str, low: int, high: int) -> int:
        text = self.cvars[cvar]
        return min(max(int(text) if text.isdecimal() else low, low), high)

    def step(self) -> None:
        """One moment of make-believe: somebody joins, leaves, scores or chats."""
        wanted = min(self._number("demo_players", 0, 32), self.max_players)
        leaving = self._number("demo_leaving", 0, 1) * 0.15
        if len(self.players) < wanted and chance.random() < 0.7:
            self._join()
        elif self.players and (len(self.players) > wanted or chance.random() < leaving):
            self._leave(chance.choice(self.players), "Disconnect by user")
        elif self.players:
            player = chance.choice(self.players)
            player.score += chance.randint(1, 5)
            victim = chance.choice(("Hunter", "Smoker", "Boomer", "Charger", "Tank"))
            self.say(f'"{player.name}<{player.userid}><BOT><Survivor>" killed "{victim}" with "pumpshotgun"')

    def _join(self) -> None:
        taken = {player.name for player in self.players}
        userid = next(self._userids)
        free = [name for name in (f"[demo] {name}" for name in NAMES) if name not in taken and name not in self.banned]
        player = Player(userid, chance.choice(free or [f"[demo] Survivor {userid}"]))
        self.players.append(player)
        self.say(f'Client "{player.name}" connected (simulated).')

    def _leave(self, player: Player, reason: str) -> None:
        self.players.remove(player)
        self.say(f"Dropped {player.name} from server ({reason})")

    def execute(self, line: str) -> str:
        """Run one console line, print it as the server would, and return its answer."""
        found = words(line)
        if not found:
            return ""
        name, arguments = found[0].lower(), found[1:]
        if command := self._commands.get(name):
            return command(arguments) + "\n"
        if name in _LISTS and (listed := _LISTS[name](arguments)) is not None:
            return listed + "\n"
        if name in self.cvars:
            return self._cvar(name, arguments) + "\n"
        return f'Unknown command "{name}"\n'

    def _cvar(self, name: str, arguments: list[str]) -> str:
        if arguments:
            self.cvars[name] = " ".join(arguments)[:200]
            return ""
        return f'"{name}" = "{"***PROTECTED***" if name in HIDDEN else self.cvars[name]}"'

    def _status(self, _: list[str]) -> str:
        rows = [
            f"hostname: {self.cvars['hostname']}",
            "version : practice (demonstration, no real game)",
            f"map     : {self.cvars['map']} at: 0 x, 0 y, 0 z",
            f"players : {len(self.players)} humans, 0 bots ({self.max_players} max) "
            f"({'not ' if self.players else ''}hibernating) (unreserved)",
            "",
            "# userid name uniqueid connected ping loss state rate adr",
        ]
        for player in self.players:
            minutes, seconds = divmod(int(player.seconds), 60)
            rows.append(f'# {player.userid} "{player.name}" DEMO {minutes:02}:{seconds:02} 40 0 active 30000 loopback')
        return "\n".join([*rows, "#end"])

    def _users(self, _: list[str]) -> str:
        rows = [f'{player.userid}:"{player.name}"' for player in self.players]
        return "\n".join(['<slot:userid:"name">', *rows, f"{len(rows)} users"])

    def _changelevel(self, arguments: list[str]) -> str:
        if not arguments or arguments[0] not in MAPS:
            return f"changelevel failed: {arguments[0] if arguments else ''} not found. Try one of: {', '.join(MAPS)}"
        self.cvars["map"] = arguments[0]
        self.say(f"-------- Mapchange to {arguments[0]} --------")
        self.say(f'Started map "{arguments[0]}" (CRC "0")')
        for player in self.players:
            player.score = 0
        return ""

    def _say(self, arguments: list[str]) -> str:
        self.say(f"Console: {' '.join(arguments)}")
        return ""

    def _kickid(self, arguments: list[str]) -> str:
        for player in self.players:
            if arguments and arguments[0] == str(player.userid):
                self._leave(player, "Kicked by Console : " + (" ".join(arguments[1:]) or "no reason given"))
                return f"Kicked {player.name}"
        return "Unknown userid. Use status to see who is here."

    def _banid(self, arguments: list[str]) -> str:
        """`banid MINUTES USERID [kick]`; pretend players have nothing but a name, so that is kept out."""
        for player in self.players:
            if arguments[1:2] == [str(player.userid)]:
                self.banned.append(player.name)
                if arguments[2:] == ["kick"]:
                    self._leave(player, "Kicked and banned by Console")
                return f"Banned {player.name} permanently"
        return "Unknown userid. Use status to see who is here."

    def _writeid(self, _: list[str]) -> str:
        self.say(f"Wrote {len(self.banned)} entries (simulated).")
        return ""

    def _cvarlist(self, _: list[str]) -> str:
        """Long on purpose: its answer takes several RCON packets, as a real server's does."""
        rows = [
            f"{name:<40} : {'***PROTECTED***' if name in HIDDEN else value:<20} : : simulated"
            for name, value in sorted(self.cvars.items())
        ]
        return "\n".join(["cvar list", "-" * 14, *rows, "-" * 14, f"{len(rows)} total convars/concommands"])

    def _quit(self, _: list[str]) -> str:
        self.stop()
        return "Server is shutting down"
