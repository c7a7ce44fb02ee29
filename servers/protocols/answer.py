"""What a game says about itself when it is asked, in whichever protocol."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Player:
    """Somebody playing. `seconds` since joining and `ping` in milliseconds, where the protocol tells them;
    `bot`: the protocol says that the game itself plays."""

    name: str
    score: int = 0
    seconds: int | None = None
    ping: int | None = None
    bot: bool = False


@dataclass(frozen=True)
class QueryResult:
    """`players` counts everybody who plays, `bots` among them; `list` has those whose names are told."""

    name: str
    map: str
    players: int
    max_players: int
    bots: int
    list: tuple[Player, ...] = field(default=())
    ping_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The answer as `Server.query` keeps it; without `ping_ms`, which is never the same twice."""
        return {
            "ok": True,
            "name": self.name,
            "map": self.map,
            "players": self.players,
            "max_players": self.max_players,
            "bots": self.bots,
            "list": [vars(player) for player in self.list],
        }
