"""A command's way to its server's node and back: asked for here, taken and answered by the agent there.

The web process talks to no game: one that floods its answer would hold up everybody's pages. A row is all that passes
between the two; a wake-up each way saves the wait for the next scan.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import close_old_connections, connection, transaction
from django.db.models.functions import Now

from jobs import events, streams
from jobs.locks import lock_subject
from jobs.pauses import pause
from servers.errors import CommandFailed, TooManyCommands
from servers.models import ConsoleCommand, Node, Server
from servers.services.answers import CHANNEL, answers

if TYPE_CHECKING:
    from portal.models import User

TIMEOUT = 5.0  # seconds, for connection and answers
TAKEN_WITHIN = 2.0  # seconds; no agent that is alive leaves a command longer
AT_ONCE = 4  # commands of one member that wait for their answers
KEPT = timedelta(minutes=1)  # for somebody who did not come for the answer


def commands_topic(node: Node) -> str:
    """Told when there is a command for the node's agent."""
    return f"commands:{node.pk}"


def ask(*, by: "User | None", server: Server, lines: Sequence[str], shows: bool) -> int:
    """Have the server's node send `lines`; the number of the request. Raises `TooManyCommands`."""
    with transaction.atomic(durable=True):
        if by:
            lock_subject(f"commands:{by.pk}")
            if ConsoleCommand.objects.waiting().filter(by=by).count() >= AT_ONCE:
                raise TooManyCommands(AT_ONCE)
        if shows:
            show_on_console(server, "\n".join(f"> {line}" for line in lines))
        expires_at = Now() + timedelta(seconds=TIMEOUT)
        asked = ConsoleCommand.objects.create(
            server=server, by=by, lines=list(lines), shows=shows, expires_at=expires_at
        )
        events.publish(commands_topic(server.node))
    return asked.pk


def collect(number: int) -> list[str]:
    """Wait for the answers to a request and forget it. Blocks, with no connection held. Raises `CommandFailed`."""
    started = time.monotonic()
    pause()
    with answers.expected(number) as arrived:
        while True:
            asked, waited = ConsoleCommand.objects.filter(pk=number).first(), time.monotonic() - started
            if not asked or asked.answered_at or waited > (TIMEOUT + 1 if asked.taken_at else TAKEN_WITHIN):
                break
            close_old_connections()  # nobody else shall wait for the pool's connection while this waits for a game
            arrived.wait(0.5)
            arrived.clear()
    not_taken = ConsoleCommand.objects.filter(pk=number, taken_at=None).delete()[0]
    ConsoleCommand.objects.filter(pk=number).delete()
    if not asked or not_taken:
        raise CommandFailed("The server's machine takes no commands at the moment. Try again in a minute.")
    if not asked.answered_at:
        raise CommandFailed(f"The game did not answer within {TIMEOUT:g} seconds. Try again in a moment.")
    if asked.error:
        raise CommandFailed(asked.error)
    return list(asked.answers)


def take_commands(*, node: Node, most: int) -> list[ConsoleCommand]:
    """The agent's: up to `most` commands to send now, each given out once at most, the oldest first."""
    ConsoleCommand.objects.filter(server__node=node, expires_at__lt=Now() - KEPT).delete()
    with transaction.atomic():
        waiting = ConsoleCommand.objects.waiting().filter(server__node=node, taken_at=None).order_by("pk")
        rows = waiting.select_related("server").prefetch_related("server__ports")
        taken = list(rows.select_for_update(of=("self",), skip_locked=True)[:most])
        ConsoleCommand.objects.filter(pk__in=[row.pk for row in taken]).update(taken_at=Now())
    return taken


def answer_command(*, command: ConsoleCommand, answers: Sequence[str], error: str = "") -> None:
    """The agent's: what the game said, or why it said nothing; for whoever waits, and for the console."""
    server = command.server
    found = [hide_secrets(server, answer) for answer in answers]
    with transaction.atomic():
        if command.shows:
            show_on_console(server, "\n".join([*found, *([f"! {error}"] if error else [])]))
        ConsoleCommand.objects.filter(pk=command.pk).update(answered_at=Now(), answers=found, error=error)
        with connection.cursor() as db:
            db.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(command.pk)])


def hide_secrets(server: Server, text: str) -> str:
    """`text` without the server's generated secrets: games print them when asked for their settings."""
    for secret in filter(None, server.secrets.values()):
        text = text.replace(secret, "•••")
    return text


def show_on_console(server: Server, text: str) -> None:
    """Add lines to the console, without the server's secrets."""
    if lines := streams.clean(hide_secrets(server, text)):
        streams.append(server.console_id, lines)
