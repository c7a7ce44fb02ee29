"""The trial of a new version: a server of the portal's own runs on it and must answer, before anybody's server does.

It is in nobody's list and no row of the database: its name is the version's number, its ports are free ones that no
server was given, its settings are the game's defaults. It is gone, files and all, when the trial is over.
"""

import asyncio
import time
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.registry import JobError
from jobs.run import Run
from servers import query, rcon, services
from servers.games import Game
from servers.models import TRIAL_PREFIX, Installation, Node, ServerPort
from servers.runtime import get_runtime
from servers.runtime.base import RuntimeFailure
from servers.runtime.sockets import ports_in_use
from servers.specs import server_spec

ANSWER_SECONDS = 180.0  # a first start of Left 4 Dead 2 on a slow disk takes most of a minute
LIST_SECONDS = 20.0  # for plugins that are loaded only once a map is
EVERY = 1.0
STOP_SECONDS = 3.0  # nobody plays on it: no need to wait for its goodbyes
LAST_LINES = 15
CONSOLE_READS = 100
SPARE_PORTS = range(61_000, 65_536)  # above those that Linux gives to connections


class TrialFailed(Exception):
    """No server runs there as it should; the sentence says why."""


def try_out(run: Run, version: Installation, game: Game) -> None:
    """Start a server on `version` and return once it answered the game's query. Raises `JobError` if it does not."""
    run.log(f"Trying version {version.version}: a server is started on it.")
    try:
        with _trial(run, version, services.folder(version), (), game):
            pass
    except TrialFailed as error:
        raise JobError(
            f"No server runs on version {version.version} of {game.name}: {error} No server was moved to it. "
            "The log has the last lines of its console."
        ) from error


def list_plugins(
    run: Run, version: Installation, files: Path, layers: tuple[Path, ...], game: Game, expected: Collection[str]
) -> set[str]:
    """Start the trial of `version` on the game's `files` with `layers`, lowest first, over them; then return
    what plugins run. It waits a while for those that are `expected`. Raises `TrialFailed`."""
    with _trial(run, version, files, layers, game) as (ports, secrets):
        return _wait_for_plugins(run, version, game, ports, secrets, set(expected))


@contextmanager
def _trial(
    run: Run, version: Installation, files: Path, layers: tuple[Path, ...], game: Game
) -> Iterator[tuple[dict[str, int], dict[str, str]]]:
    """A server that answers, gone afterwards: its ports and secrets. Raises `TrialFailed`, also for its block."""
    secrets = game.complete_secrets({})
    ports = _free_ports(version.node, game)
    spec = server_spec(game, name=_name(version), layers=(files, *layers), settings={}, secrets=secrets, ports=ports)
    try:
        get_runtime().start(spec)
        if game.query:
            _wait_for_answer(run, version, game, ports)
        yield ports, secrets
    except (RuntimeFailure, query.QueryError, rcon.RconError) as error:
        for line in _last_lines(version):
            run.log("  " + _without(secrets, line))
        raise TrialFailed(str(error)) from error
    finally:
        end(version)


def end(version: Installation) -> None:
    """Stop the trial's server and delete its files, if there are any. Raises `RuntimeFailure`."""
    get_runtime().stop(_name(version), timeout=STOP_SECONDS)
    get_runtime().discard(_name(version))


def _name(version: Installation) -> str:
    return f"{TRIAL_PREFIX}{version.pk}"


def _wait_for_answer(run: Run, version: Installation, game: Game, ports: dict[str, int]) -> None:
    """Ask until it answers. Raises `QueryError` with the last reason after `ANSWER_SECONDS`, or once it has ended."""
    began = time.monotonic()
    while True:
        run.check()
        try:
            answer = asyncio.run(query.query(game, version.node.asked_at, ports))
        except query.QueryError as error:
            state = get_runtime().states([_name(version)])[_name(version)]
            if state.unit != "running" or state.restarts:
                raise query.QueryError(state.detail or "It ended by itself.") from error
            if time.monotonic() - began > ANSWER_SECONDS:
                raise
            time.sleep(EVERY)
        else:
            run.log(f"It answered after {time.monotonic() - began:.1f} s, with the map {answer.map or 'unnamed'}.")
            return


def _wait_for_plugins(
    run: Run, version: Installation, game: Game, ports: dict[str, int], secrets: dict[str, str], expected: set[str]
) -> set[str]:
    """Ask until all that are expected run, or as long as the list still grows. Raises `RconError` of the last try."""
    began, before = time.monotonic(), None
    while game.plugins:
        run.check()
        is_late = time.monotonic() - began > LIST_SECONDS
        try:
            found = _ask_for_plugins(version, game, ports, secrets)
        except rcon.RconError:
            if is_late:
                raise
        else:
            if is_late or (expected <= found and (expected or found == before)):
                return found
            before = found
        time.sleep(EVERY)
    return set()


def _ask_for_plugins(version: Installation, game: Game, ports: dict[str, int], secrets: dict[str, str]) -> set[str]:
    assert game.console  # the definition was refused otherwise
    host, secret = version.node.asked_at, secrets[game.console.secret]
    answers = [(known, asyncio.run(rcon.command(game, host, ports, secret, known.command))) for known in game.plugins]
    return {plugin for known, answer in answers for plugin in known.read(answer)}


def _free_ports(node: Node, game: Game) -> dict[str, int]:
    """For each that the game needs, the highest that no server has and nothing is bound to: servers get the lowest.

    Raises `JobError`.
    """
    taken = ports_in_use() | set(ServerPort.objects.filter(node=node).values_list("number", flat=True))
    found: dict[str, int] = {}
    for port in game.ports:
        number = next((number for number in [*reversed(port.numbers), *SPARE_PORTS] if number not in taken), None)
        if number is None:
            raise JobError("The machine has no free port left to try the new version on. Delete a server, then retry.")
        taken.add(number)
        found[port.name] = number
    return found


def _last_lines(version: Installation) -> list[str]:
    last: deque[str] = deque(maxlen=LAST_LINES)
    cursor = ""
    for _ in range(CONSOLE_READS):
        lines, cursor = get_runtime().read_console(_name(version), cursor)
        last += lines
        if not lines:
            break
    return list(last)


def _without(secrets: dict[str, str], line: str) -> str:
    for secret in secrets.values():
        line = line.replace(secret, "•••")
    return line
