"""Console commands: sent straight from the web process, since RCON is a network protocol and a member waits for it."""

import asyncio
from typing import TYPE_CHECKING

from django.db import close_old_connections, connection

from jobs import streams
from servers import games, rcon
from servers.errors import CommandFailed, CommandRefused
from servers.models import Server
from servers.protocols.cvars import read_value
from servers.services.common import record

if TYPE_CHECKING:
    from portal.models import User

MAX_COMMAND = 400  # Source and Quake 3 cut at about 500 bytes
TIMEOUT = 5.0  # seconds, for connection and answer


def send_command(*, by: "User", server: Server, text: str) -> str:
    """Send one command over RCON and return the answer; both become lines of the console, for everyone who watches.

    Blocks for up to `TIMEOUT` seconds: call it in a thread. Raises `CommandRefused`, `CommandFailed`, `UnknownGame`.
    """
    command = _checked(text)
    require_console(server)
    record(by, server, "command", command=hide_secrets(server, command))
    return exchange(server, command)


def require_console(server: Server) -> "games.Game":
    """The game of a server that takes commands now. Raises `CommandRefused`, `UnknownGame`."""
    game = games.get(server.game)
    if server.deleted_at or server.unit != Server.Unit.RUNNING:
        raise CommandRefused(f"{server.name} is not running. Start it, then send the command again.")
    if not game.console:
        raise CommandRefused(f"{game.name} takes no commands.")
    return game


def exchange(server: Server, command: str, *, on_console: bool = True) -> str:
    """Send one line, known to be sound, and return the answer without the server's secrets. Raises `CommandFailed`."""
    game = games.get(server.game)
    secret = server.secrets.get(game.console.secret, "") if game.console else ""
    ports, host = {port.name: port.number for port in server.ports.all()}, server.node.query_host
    if on_console:
        show_on_console(server, f"> {command}")
    if not connection.in_atomic_block:
        close_old_connections()  # nobody else shall wait for the pool's connection while this waits for a game
    try:
        answer = asyncio.run(rcon.command(game, host, ports, secret, command, timeout=TIMEOUT))
    except rcon.RconError as error:
        if on_console:
            show_on_console(server, f"! {error}")
        raise CommandFailed(str(error)) from error
    answer = hide_secrets(server, answer)
    if on_console:
        show_on_console(server, answer)
    return answer


def ask_settings(server: Server) -> dict[str, str | None]:
    """By key, what the running game says of each setting it has a name for, None where it says nothing. Raises as
    `exchange` and `require_console` do."""
    game = require_console(server)
    protocol = game.console.protocol if game.console else ""
    named = [setting for setting in game.settings if setting.cvar]
    return {
        setting.key: read_value(protocol, setting.cvar, exchange(server, setting.cvar, on_console=False))
        for setting in named
    }


def hide_secrets(server: Server, text: str) -> str:
    """`text` without the server's generated secrets: games print them when asked for their settings."""
    for secret in filter(None, server.secrets.values()):
        text = text.replace(secret, "•••")
    return text


def _checked(text: str) -> str:
    command = text.strip()
    if not command:
        raise CommandRefused("Type a command first.")
    if len(command.encode()) > MAX_COMMAND:
        raise CommandRefused(f"The command is too long. Use {MAX_COMMAND} characters at most.")
    if not command.isprintable():
        raise CommandRefused("Send one line without control characters.")
    return command


def show_on_console(server: Server, text: str) -> None:
    """Add lines to the console, without the server's secrets."""
    if lines := streams.clean(hide_secrets(server, text)):
        streams.append(server.console_id, lines)
