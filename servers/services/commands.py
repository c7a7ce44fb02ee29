"""Console commands, and settings asked of the running game. The answer is waited for: a member looks at the console."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from servers import games
from servers.errors import CommandRefused
from servers.models import Server
from servers.protocols.cvars import read_value
from servers.services.common import record
from servers.services.sending import ask, collect, hide_secrets

if TYPE_CHECKING:
    from portal.models import User

MAX_COMMAND = 400  # Source and Quake 3 cut at about 500 bytes


def send_command(*, by: "User", server: Server, text: str) -> str:
    """Send one command over RCON and return the answer; both become lines of the console, for everyone who watches.

    Blocks for some seconds at most: call it in a thread. Raises `CommandRefused`, `CommandFailed`, `UnknownGame`.
    """
    command = _checked(text)
    require_console(server)
    record(by, server, "command", command=hide_secrets(server, command))
    return exchange(by, server, [command])[0]


def require_console(server: Server) -> "games.Game":
    """The game of a server that takes commands now. Raises `CommandRefused`, `UnknownGame`."""
    game = games.get(server.game)
    if server.deleted_at or server.unit != Server.Unit.RUNNING:
        raise CommandRefused(f"{server.name} is not running. Start it, then send the command again.")
    if not game.console:
        raise CommandRefused(f"{game.name} takes no commands.")
    return game


def exchange(by: "User | None", server: Server, lines: Sequence[str], *, on_console: bool = True) -> list[str]:
    """Send lines, known to be sound, and return an answer for each without the server's secrets.

    Raises `CommandFailed`, and `CommandRefused` where `by` waits for too many answers already.
    """
    return collect(ask(by=by, server=server, lines=lines, shows=on_console))


def ask_settings(*, by: "User", server: Server) -> dict[str, str | None]:
    """By key, what the running game says of each setting it has a name for, None where it says nothing. Raises as
    `exchange` and `require_console` do."""
    game = require_console(server)
    protocol = game.console.protocol if game.console else ""
    named = [setting for setting in game.settings if setting.cvar]
    found = exchange(by, server, [setting.cvar for setting in named], on_console=False)
    return {
        setting.key: read_value(protocol, setting.cvar, answer) for setting, answer in zip(named, found, strict=True)
    }


def _checked(text: str) -> str:
    command = text.strip()
    if not command:
        raise CommandRefused("Type a command first.")
    if len(command.encode()) > MAX_COMMAND:
        raise CommandRefused(f"The command is too long. Use {MAX_COMMAND} characters at most.")
    if not command.isprintable():
        raise CommandRefused("Send one line without control characters.")
    return command
