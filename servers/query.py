"""Asks a running game for its map and players; the agent does so every few seconds."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping

from servers.games.schema import Game
from servers.protocols import a2s, quake3, teeworlds
from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import MalformedError

__all__ = ["Player", "QueryError", "QueryResult", "query"]

_PROTOCOLS = {"source": a2s.query, "quake3": quake3.query, "teeworlds": teeworlds.query}


class QueryError(Exception):
    """No usable answer; the text says why in a sentence."""


async def query(
    game: Game,
    host: str,
    ports: Mapping[str, int],
    *,
    timeout: float = 2.0,  # noqa: ASYNC109 - what the caller grants, over several steps
) -> QueryResult:
    """What the game on `host` says of itself; `ports` are the server's, by name. `timeout`: seconds for all of it.

    Raises `QueryError`. A lost packet is not asked for again: whoever polls asks again anyway.
    """
    if not game.query:
        raise QueryError(f"{game.name} cannot be asked for its players.")
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            answer = await _PROTOCOLS[game.query.protocol](host, ports[game.query.port])
    except KeyError:
        raise QueryError(f"The server has no port named {game.query.port}.") from None
    except TimeoutError:
        raise QueryError(f"The game did not answer within {timeout:g} seconds.") from None
    except OSError as error:
        raise QueryError(f"The game cannot be reached: {error.strerror or error}.") from None
    except MalformedError as error:
        raise QueryError(f"The game's answer was not understood: {error}.") from None
    return dataclasses.replace(answer, ping_ms=round((time.perf_counter() - started) * 1000, 1))
