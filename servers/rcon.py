"""Sends one command to a running game over its remote console. The password never shows in errors or logs."""

import asyncio
from collections.abc import Mapping

from servers.games.controls import Console
from servers.games.schema import Game
from servers.protocols import consoles, quake3
from servers.protocols.wire import MalformedError

_PROTOCOLS = {
    "source-rcon": consoles.source_rcon,
    "quake3-rcon": quake3.rcon,
    "teeworlds-econ": consoles.teeworlds_econ,
}


class RconError(Exception):
    """The command has no answer; the text says why and what to do."""


class RconDenied(RconError):
    """The game knows another password."""


async def command(
    game: Game,
    host: str,
    ports: Mapping[str, int],
    secret: str,
    text: str,
    *,
    timeout: float = 5.0,  # noqa: ASYNC109 - what the caller grants, over several steps
) -> str:
    """Run `text`, one line, and return what the game prints, at most 64 KiB. `timeout`: seconds for all of it.

    Each command has a connection of its own, so a restarted game needs no care. Raises `RconError`.
    """
    console = game.console
    if not console:
        raise RconError(f"{game.name} takes no commands.")
    if not text.isprintable() or not secret.isprintable() or not secret:
        raise RconError("A command is one line without control characters. Type it again.")
    answer = await _ask(console, "127.0.0.1" if console.loopback else host, ports, secret, text, timeout)
    if answer is None:
        raise RconDenied("The game refused the password of its remote console. Restart the server to set it again.")
    return answer


async def _ask(
    console: Console,
    host: str,
    ports: Mapping[str, int],
    secret: str,
    text: str,
    timeout: float,  # noqa: ASYNC109
) -> str | None:
    """Every way it can fail as a sentence; None when the password is refused."""
    try:
        async with asyncio.timeout(timeout):
            return await _PROTOCOLS[console.protocol](host, ports[console.port], secret, text)
    except KeyError:
        raise RconError(f"The server has no port named {console.port}. Save its settings again.") from None
    except TimeoutError:
        raise RconError(f"The game did not answer within {timeout:g} seconds. Try again in a moment.") from None
    except (OSError, EOFError):
        raise RconError("The game's console cannot be reached. Is the server still starting? Try again.") from None
    except MalformedError as error:
        raise RconError(f"The game's answer was not understood: {error}. Try again.") from None
