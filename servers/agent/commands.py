"""Sends members' console commands to the games of this node, many at a time: a silent game holds up only its own."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from servers import games, rcon, services
from servers.agent.conversations import Conversations
from servers.models import ConsoleCommand, Node
from servers.services.sending import TIMEOUT

log = logging.getLogger(__name__)
AT_ONCE = 200  # a connection each; members are held to far fewer before
BROKEN = "The command failed here, which was logged. Tell an administrator."


class Commands:
    """`step` begins to send the commands that wait. `wait` and `ring` are the bell of the agent's loop."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._under_way: set[int] = set()
        self._asked = threading.Event()
        self._conversations = Conversations("commands-sender")
        self._writer = ThreadPoolExecutor(1, "commands-writer")  # answers go to the database one after another

    def wait(self, seconds: float, /) -> None:
        self._asked.wait(seconds)

    def ring(self) -> None:
        self._asked.set()

    def step(self) -> None:
        self._asked.clear()
        for command in services.take_commands(node=self.node, most=AT_ONCE - len(self._under_way)):
            self._under_way.add(command.pk)
            self._conversations.start(self._send(command))

    def close(self) -> None:
        """End both threads; what is under way stays without an answer."""
        self._conversations.close()
        self._writer.submit(lambda: connection.close())  # noqa: PLW0108 - the writer's own, not this thread's
        self._writer.shutdown()

    async def _send(self, command: ConsoleCommand) -> None:
        error, answers = "", list[str]()
        try:
            async with asyncio.timeout(TIMEOUT):
                for line in command.lines:
                    answers.append(await self._exchange(command, line))
        except TimeoutError:
            error = f"The game did not answer within {TIMEOUT:g} seconds. Try again in a moment."
        except (rcon.RconError, games.UnknownGame) as refusal:
            error = str(refusal)
        except Exception:  # whatever a game sends must cost that game alone
            log.exception("A command to %s failed", command.server)
            error = BROKEN
        await asyncio.get_running_loop().run_in_executor(self._writer, _store, command, answers, error)
        self._under_way.discard(command.pk)
        self.ring()

    async def _exchange(self, command: ConsoleCommand, line: str) -> str:
        server, game = command.server, games.get(command.server.game)
        secret = server.secrets.get(game.console.secret, "") if game.console else ""
        ports = {port.name: port.number for port in server.ports.all()}
        return await rcon.command(game, self.node.asked_at, ports, secret, line, timeout=TIMEOUT)


def _store(command: ConsoleCommand, answers: list[str], error: str) -> None:
    """Whoever waits for an answer that is lost with the database is told after a while that none came."""
    try:
        services.answer_command(command=command, answers=answers, error=error)
    except Exception as failure:
        log.warning("The answer of %s was lost: %s", command.server, str(failure).strip())
        connection.close()
