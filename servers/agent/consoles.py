"""Reads the consoles that may have something new and stores their lines, in rounds that bound each server's part.

The text and the cursor stored with it decide what is new; what says *when* to read (`servers.runtime.wakes`) may be
wrong, late, or a hostile game's flood.
"""

import logging
import math
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import InterfaceError, OperationalError, transaction

from jobs import streams
from jobs.models import Stream
from servers import games, services
from servers.agent.allowance import Allowance
from servers.models import Server
from servers.runtime.base import Runtime

log = logging.getLogger(__name__)
AFTERGLOW = 5.0  # seconds a console is still read after its game was last seen alive
BATCH, BATCHES = 1000, 5  # lines read at once of one server, and how often before its changed state is told
ENOUGH = 2000  # lines read of several servers, to be stored in one transaction: each has its flush to disk
ROUND, VAIN_ROUND = 0.015, 0.001  # seconds from a round that stored something, or nothing, to the next
SHARE, LONGEST_REST = 3, 0.1  # rounds rest so many times the processor time they took, so long at most
FIRST_RETRY = 0.001  # seconds after a wake-up without a line, then twice as long, up to `Wakes.late` in all
VAIN, VAIN_PAUSE = 32, 0.1  # after so many wake-ups in a row without a line a server is read so seldom
UNREADABLE_PAUSE = 30.0  # seconds
DROPPING_PAUSE = 0.01  # seconds between two reads of lines that are too many to be stored


@dataclass
class Console:
    """What the agent remembers of a server's console between two reads; lost without harm."""

    server: Server
    cursor: str | None = None  # None: ask the database how far the console was read
    live_until: float = field(default_factory=lambda: time.monotonic() + AFTERGLOW)
    due: float = math.inf  # when to read it next
    read_at: float = 0.0
    unreadable_until: float = 0.0
    is_behind: bool = False
    is_woken: bool = False  # by something that promised lines, of which none was seen yet
    retry: float = FIRST_RETRY
    vain: int = 0
    allowance: Allowance = field(default_factory=Allowance)

    def forget_cursor(self) -> None:
        """Also what was dropped after the stored one: it will be read again."""
        self.cursor, self.allowance.dropped = None, 0


class _Batch(NamedTuple):
    console: Console
    lines: list[str]
    cursor: str


class Consoles:
    """`read_soon` what may have lines, then `round` from `next_round` on. `late`: see `Wakes`."""

    def __init__(self, runtime: Runtime, late: float) -> None:
        self.runtime = runtime
        self.late = late
        self._by_name: dict[str, Console] = {}
        self._due: dict[str, Console] = {}
        self.rests_until = 0.0

    def keep(self, servers: Iterable[Server]) -> None:
        """Know these servers and no others."""
        known, self._by_name = self._by_name, {}
        for server in servers:
            console = known.get(server.name)
            if console is None or console.server.pk != server.pk:
                console = Console(server)
            console.server = server
            self._by_name[server.name] = console
        self._due = {name: one for name, one in self._due.items() if self._by_name.get(name) is one}

    def forget_cursors(self) -> None:
        """Somebody else may have read meanwhile."""
        for console in self._by_name.values():
            console.forget_cursor()

    def is_alive(self, name: str) -> None:
        self._by_name[name].live_until = time.monotonic() + AFTERGLOW

    def live(self) -> list[str]:
        return [name for name, console in self._by_name.items() if time.monotonic() < console.live_until]

    def read_soon(self, names: Iterable[str], *, woken: bool = False) -> None:
        """`woken`: something says that there are lines, which may be not quite readable yet."""
        now = time.monotonic()
        for console in (self._by_name[name] for name in names if name in self._by_name):
            if woken:
                console.is_woken, console.retry = True, FIRST_RETRY
            self._read_at(console, now)

    @property
    def next_due(self) -> float:
        """When there is something to read (`time.monotonic`); infinity when there is not."""
        return min((console.due for console in self._due.values()), default=math.inf)

    @property
    def next_round(self) -> float:
        return max(self.rests_until, self.next_due)

    def round(self) -> None:
        """Read all that is due and store it together; of those far behind only one, after the others."""
        began = time.thread_time()
        ready = [console for console in self._due.values() if console.due <= time.monotonic()]
        behind = [console for console in ready if console.is_behind]
        stored = self._store(self._read_some(console for console in ready if not console.is_behind))
        if behind:
            stored |= self._store(self._read_some([min(behind, key=lambda console: console.read_at)]))
        rest = SHARE * (time.thread_time() - began) if not behind else 0.0
        rest = min(LONGEST_REST, max(rest, ROUND if stored else VAIN_ROUND))
        self.rests_until = time.monotonic() + rest

    def read_now(self, name: str) -> None:
        """All there is, up to a bound."""
        console = self._by_name[name]
        for _ in range(BATCHES):
            if time.monotonic() < console.unreadable_until or not self._store(self._read_some([console])):
                break

    def _read_at(self, console: Console, at: float) -> None:
        at = max(at, console.unreadable_until, console.read_at + VAIN_PAUSE if console.vain >= VAIN else 0.0)
        console.due = min(console.due, at)
        self._due[console.server.name] = console

    def _read_some(self, consoles: Iterable[Console]) -> list[_Batch]:
        """What is new, of those first that were not read for longest, until it is enough. The others stay due."""
        found: list[_Batch] = []
        for console in sorted(consoles, key=lambda console: console.read_at):
            if sum(len(batch.lines) for batch in found) >= ENOUGH:
                break
            if batch := self._read(console):
                found.append(batch)
        return found

    def _read(self, console: Console) -> _Batch | None:
        """What is new. `None` for nothing, or for a console that cannot be read, which is nobody else's trouble."""
        server = console.server
        try:
            if console.cursor is None:
                console.cursor = Stream.objects.values_list("cursor", flat=True).get(pk=server.console_id)
            found, after = self.runtime.read_console(server.name, console.cursor, BATCH)
            allowed = console.allowance.allows(found)
            lines = _readable(server, [*console.allowance.notice(), *found]) if allowed else []
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            self._set_unreadable(console)
            return None
        console.read_at, console.due = time.monotonic(), math.inf
        self._due.pop(server.name, None)
        console.is_behind = len(found) >= BATCH
        if after != console.cursor:
            console.is_woken, console.vain = False, 0
            self._read_at(console, console.read_at + (0 if allowed else DROPPING_PAUSE))  # until a read finds nothing
            if not allowed:
                console.cursor = after  # it is stored with the line that tells of what was dropped
                return None
        if lines or after != console.cursor:
            return _Batch(console, lines, after)
        if console.is_woken:
            self._retry(console)
        return None

    def _retry(self, console: Console) -> None:
        console.vain += 1
        console.is_woken = 2 * console.retry <= self.late
        if console.is_woken:
            self._read_at(console, console.read_at + console.retry)
            console.retry *= 2

    def _set_unreadable(self, console: Console) -> None:
        log.exception("The console of %s cannot be read", console.server.name)
        console.unreadable_until = time.monotonic() + UNREADABLE_PAUSE
        console.due = math.inf
        console.forget_cursor()
        self._due.pop(console.server.name, None)

    def _store(self, batches: list[_Batch]) -> bool:
        """Store what was read; whether there was something."""
        for batch in batches:
            batch.console.forget_cursor()  # should this fail, the database knows what was saved
        if batches:
            self._append(batches)
        return bool(batches)

    def _append(self, group: list[_Batch]) -> None:
        try:
            # One statement is its own transaction, without two more round trips to the database.
            with transaction.atomic() if len(group) > 1 else nullcontext():
                for batch in sorted(group, key=lambda one: one.console.server.console_id):  # so no two lock crosswise
                    streams.append(batch.console.server.console_id, batch.lines, cursor=batch.cursor)
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # a console was deleted meanwhile: the others' lines are stored without it
            if len(group) == 1:
                self._set_unreadable(group[0].console)
            else:
                for batch in group:
                    self._append([batch])
            return
        for batch in group:
            batch.console.cursor = batch.cursor


def _readable(server: Server, lines: list[str]) -> list[str]:
    """Lines as members may see them: without secrets, the game's codes for colours and what cannot be shown."""
    game = games.all_games().get(server.game)
    plain = game.console.plain if game and game.console else str
    return [text for line in lines for text in streams.clean(plain(services.hide_secrets(server, line))) or [""]]
