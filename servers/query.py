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

    Of a game that answers only in part, that part. Raises `QueryError`. A lost packet is not asked for again: whoever
    polls asks again anyway.
    """
    if not game.query:
        raise QueryError(f"{game.name} cannot be asked for its players.")
    if game.query.port not in ports:
        raise QueryError(f"The server has no port named {game.query.port}.")
    started, ping, answer = time.perf_counter(), 0.0, None
    try:
        async with asyncio.timeout(timeout):
            async for known in _PROTOCOLS[game.query.protocol](host, ports[game.query.port]):
                answer, ping = known, time.perf_counter() - started
    except (TimeoutError, OSError, MalformedError) as error:
        if answer is None:
            raise QueryError(_sentence(error, timeout)) from None
    assert answer  # each protocol gives one or raises
    return dataclasses.replace(answer, ping_ms=round(ping * 1000, 1))


def _sentence(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"The game did not answer within {timeout:g} seconds."
    if isinstance(error, OSError):
        return f"The game cannot be reached: {error.strerror or error}."
    return f"The game's answer was not understood: {error}."
