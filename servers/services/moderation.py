"""The panel's buttons for a running game: kick, ban, say, change the map; each by the lines its definition has for it.

A player is named by the number the game's own `status` gives, asked for again before each blow: numbers are given to
others, names are taken by anybody, so both have to be as the member saw them. No name is ever part of a command.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from servers.errors import CommandRefused, PlayerGone, PressedTwice
from servers.games.syntax import RefusedError
from servers.layers import stack
from servers.models import AuditEvent, Server
from servers.protocols.cvars import read_value
from servers.protocols.status import Listed, Roll, read_roll
from servers.services.commands import exchange, require_console
from servers.services.common import record
from servers.services.sending import ask

if TYPE_CHECKING:
    from portal.models import User

STATUS = "status"
LONGEST_MESSAGE = 120  # bytes; Source's chat holds 127
A_MOMENT = timedelta(seconds=30)  # the list of players may be that old where the game is slow to answer


def call_roll(*, by: "User", server: Server) -> Roll:
    """Who plays now, asked of the game. Blocks for up to five seconds. Raises as `send_command` does."""
    game = require_console(server)
    if not game.actions.players:
        raise CommandRefused(f"{game.name} does not say who plays in a way that a player could be picked by.")
    return read_roll(game.actions.players, exchange(by, server, [STATUS], on_console=False)[0])


def ask_mode(*, by: "User", server: Server) -> str:
    """What is played now, in the words of the setting that says it, since a lobby may have chosen another mode than the
    server's settings; empty where the game does not say. Blocks and raises as `call_roll` does."""
    game = require_console(server)
    setting = game.settings_by_key.get(game.actions.mode or "")
    if not setting or not game.console:
        return ""
    answer = exchange(by, server, [setting.cvar], on_console=False)[0]
    value = read_value(game.console.protocol, setting.cvar, answer)
    return str(setting.choices.get(value, value or ""))


def list_players(*, by: "User", server: Server) -> tuple[Listed, ...]:
    """The players of `call_roll`."""
    return call_roll(by=by, server=server).players


def kick_player(*, by: "User", server: Server, player: int, name: str) -> None:
    """Throw out the player of that number, if it is still called `name`. Raises `PlayerGone`, `PressedTwice`, and as
    `say` does."""
    _strike("kick", by=by, server=server, player=player, name=name)


def ban_player(*, by: "User", server: Server, player: int, name: str) -> None:
    """Throw out and keep out for good, where the game keeps a list of that. Raises as `kick_player` does."""
    _strike("ban", by=by, server=server, player=player, name=name)


def say(*, by: "User", server: Server, text: str) -> str:
    """A message in the chat of everybody who plays; returns it as it was sent, since signs that the game's console
    cannot hold are replaced. Raises `CommandRefused`, `CommandFailed`, `UnknownGame`."""
    game = require_console(server)
    assert game.console  # require_console saw to it
    said = game.actions.chat(text, game.console)
    if not said:
        raise CommandRefused("Type a message first.")
    if len(said.encode()) > LONGEST_MESSAGE:
        raise CommandRefused(
            f"The message is too long. Use {LONGEST_MESSAGE} characters at most, or half as many accents."
        )
    _act("say", said, by=by, server=server, text=said)
    return said


def announce(*, server: Server, text: str) -> None:
    """The same by the portal itself, which is no act of anybody's and waits for nothing: where it fails, the console
    says so. Raises `CommandRefused`, `UnknownGame`."""
    ask(by=None, server=server, lines=_lines("say", text, server=server), shows=True)


def levels(*, server: Server) -> list[str]:
    """The maps to change to: those of the game's definition, and those that the running game's add-ons bring. Raises
    `CommandRefused`, `UnknownGame`."""
    return list(dict.fromkeys([*require_console(server).maps, *stack.maps(server, mounted=True)]))


def change_level(*, by: "User", server: Server, level: str) -> None:
    """Change the map at once. Raises as `say` does; `CommandRefused` also for a map that is not one of `levels`."""
    if level not in levels(server=server):
        raise CommandRefused(f"There is no map called {level!r} here. Pick one of the list.")
    _act("changelevel", level, by=by, server=server, map=level)


def _strike(action: str, *, by: "User", server: Server, player: int, name: str) -> None:
    told: dict[str, str | int] = {"player": player, "player_name": name}
    if any(one.id == player and one.name == name for one in list_players(by=by, server=server)):
        _act(action, player, by=by, server=server, **told)
        return
    since = timezone.now() - A_MOMENT
    done = AuditEvent.objects.filter(server=server, actor=by, action=action, at__gt=since, detail__contains=told)
    raise PressedTwice if done.exists() else PlayerGone(name)


def _act(action: str, value: str | int, *, by: "User", server: Server, **detail: str | int) -> None:
    lines = _lines(action, value, server=server)
    record(by, server, action, **detail)
    exchange(by, server, lines)


def _lines(action: str, value: str | int, *, server: Server) -> list[str]:
    game = require_console(server)
    assert game.console  # require_console saw to it
    try:
        lines = game.actions.lines(action, value, game.console)
    except RefusedError as error:
        raise CommandRefused(f"The message {error}") from None
    if not lines:
        raise CommandRefused(f"{game.name} has no command for that.")
    return lines
