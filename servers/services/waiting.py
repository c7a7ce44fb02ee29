"""Stop or restart later: when nobody plays any more, or after a countdown that the players are told in chat.

What waits is a row (`Pending`), one per server; the agent (servers/agent/waiting.py) calls `tell_players` and
`carry_out`. Every step is a line of the server's console.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils import timezone

from servers import games
from servers.errors import CommandRefused, NotNow, ServerError
from servers.models import Pending, Server
from servers.services.common import locked, record
from servers.services.moderation import announce
from servers.services.power import restart_server, stop_server
from servers.services.sending import show_on_console

if TYPE_CHECKING:
    from portal.models import User

PATIENCE = timedelta(hours=24)  # for a server to become empty
MARGIN = timedelta(minutes=10)  # for an agent that was away when it was time
LONGEST = timedelta(hours=1)
WORDS = {Pending.Verb.RESTART: "restarts", Pending.Verb.STOP: "stops"}


def wait_until_empty(*, by: "User", server: Server, verb: Pending.Verb, replace: bool = True) -> Pending:
    """Do it once nobody plays, within a day. Replaces what waited before, or is refused where something else waits.
    Raises `NotNow`, `ServerGone`."""
    game = games.all_games().get(server.game)
    if game is None or game.query is None:
        raise NotNow("This game does not say who plays, so nobody knows when it is empty.")
    return _wait(server, verb, None, PATIENCE, by=by, replace=replace)


def count_down(*, by: "User", server: Server, verb: Pending.Verb, after: timedelta, replace: bool = True) -> Pending:
    """Do it `after` so long, and tell the players. `replace` and what it raises are `wait_until_empty`'s."""
    game = games.all_games().get(server.game)
    if game is None or not game.actions.say:
        raise NotNow("The portal cannot write into the chat of this game, so nobody would be warned.")
    if not timedelta(seconds=10) <= after <= LONGEST:
        raise NotNow("Choose between ten seconds and an hour.")
    return _wait(server, verb, after, after + MARGIN, by=by, replace=replace)


def _wait(
    server: Server, verb: Pending.Verb, after: timedelta | None, patience: timedelta, *, by: "User", replace: bool
) -> Pending:
    with locked(server) as fresh:
        if fresh.unit != Server.Unit.RUNNING:
            raise NotNow(f"{fresh.name} is not running, so there is nobody to wait for.")
        if not replace and (waits := Pending.objects.filter(server=fresh).first()):
            if (waits.verb, waits.after) == (verb, after):
                return waits  # pressed twice
            raise NotNow(f"{waits.by or 'Somebody'} asked for a {waits.verb} meanwhile. Call it off first.")
        now = timezone.now()
        values = {
            "verb": verb, "due_at": now + after if after else None, "expires_at": now + patience, "told": None,
            "by": by, "created_at": now,
        }  # fmt: skip
        pending, _ = Pending.objects.update_or_create(server=fresh, defaults=values)
        when = f"in {in_words(after)}" if after else "once nobody plays"
        record(by, fresh, f"{verb} later", when=when)
        show_on_console(fresh, f"[left4me] The server {WORDS[verb]} {when}: {by} asked for it.")
    return pending


def cancel_waiting(*, by: "User", server: Server) -> bool:
    """Forget what waits; returns whether something did. Players who were told are told again. Raises `ServerGone`."""
    with locked(server) as fresh:
        pending = Pending.objects.filter(server=fresh).first()
        if not pending:
            return False
        pending.delete()
        record(by, fresh, "cancel", what=f"{pending.verb} later")
        show_on_console(fresh, f"[left4me] {by} called it off: the server goes on.")
    if pending.told is not None:
        _announce(server, "Called off: the server goes on.")
    return True


def give_up(*, pending: Pending, why: str) -> None:
    """The agent's: it cannot come about any more."""
    if Pending.objects.filter(pk=pending.pk, created_at=pending.created_at).delete()[0]:
        record(None, pending.server, "give up", what=f"{pending.verb} later", why=why)
        show_on_console(pending.server, f"[left4me] No {pending.verb}: {why}")


def tell_players(*, pending: Pending, left: int) -> None:
    """The agent's: `left` seconds remain, say so in chat. Told once, also when two agents should ever try."""
    same = Pending.objects.filter(pk=pending.pk, created_at=pending.created_at, told=pending.told)
    if same.update(told=left):
        _announce(
            pending.server, f"The server {WORDS[Pending.Verb(pending.verb)]} in {in_words(timedelta(seconds=left))}."
        )


def carry_out(*, pending: Pending) -> None:
    """The agent's: it is time. Whoever deletes the row presses the button, so it is pressed once at most."""
    if not Pending.objects.filter(pk=pending.pk, created_at=pending.created_at).delete()[0]:
        return
    server = pending.server
    show_on_console(server, f"[left4me] It is time: the server {WORDS[Pending.Verb(pending.verb)]}.")
    press = restart_server if pending.verb == Pending.Verb.RESTART else stop_server
    try:
        press(by=pending.by, server=server)
    except (ServerError, games.UnknownGame) as error:
        show_on_console(server, f"[left4me] No {pending.verb}: {error}")


def _announce(server: Server, text: str) -> None:
    """A game that cannot be told is no reason to do otherwise; its console says so."""
    try:
        announce(server=server, text=text)
    except (CommandRefused, games.UnknownGame):
        show_on_console(server, "[left4me] The players could not be told.")


def in_words(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    count, unit = (seconds // 60, "minute") if seconds >= 60 and seconds % 60 == 0 else (seconds, "second")
    return f"{count} {unit}{'' if count == 1 else 's'}"
