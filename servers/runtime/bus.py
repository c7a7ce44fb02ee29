"""systemd's manager over D-Bus, for synchronous callers: starts and stops units, and knows their state from signals.

The connection lives in a thread of its own; a lost one is opened again at the next call. What this process may ask
for is decided by polkit (deploy/etc/polkit.rules).
"""

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, InvalidAddressError

from servers.runtime.base import RuntimeFailure

SYSTEMD, MANAGER_PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
MANAGER, PROPERTIES = "org.freedesktop.systemd1.Manager", "org.freedesktop.DBus.Properties"
UNITS_BELOW = "/org/freedesktop/systemd1/unit"
CALL_SECONDS = 20.0  # systemd answers in milliseconds, but it may be reloading
T = TypeVar("T")


class Unit(NamedTuple):
    """What `ListUnits` says of a loaded unit."""

    active: str
    sub: str
    path: str
    job: str  # what it waits for: "start", "stop", "" …


class Refused(RuntimeFailure):
    """systemd or polkit said no; `error` is the D-Bus error's name."""

    def __init__(self, error: str, text: str) -> None:
        self.error = error
        super().__init__(
            f"systemd refused: {(text or error).rstrip('.')}. Ask an admin to run the doctor on this machine."
        )


class Bus:
    """One process's connection to systemd. `on_change` is called, in the connection's thread, when a unit changed."""

    def __init__(self) -> None:
        self._bus: MessageBus | None = None
        self._properties: dict[str, dict[str, Any]] = {}  # by object path, until a signal says it changed
        self._changes = 0
        self._results: dict[str, str] = {}  # of ended jobs that somebody waits for, or may be about to
        self._ended = asyncio.Condition()
        self._listeners: list[Callable[[], None]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="systemd", daemon=True).start()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener`, from another thread, whenever a unit changed."""
        self._listeners.append(listener)
        self._do(self._connected(), CALL_SECONDS)

    def run_job(self, verb: str, unit: str, *, timeout: float) -> str:
        """`verb` "Start" or "Stop": the job's result ("done", "failed", "dependency", …), or "timeout" of ours."""
        return self._do(self._run_job(verb, unit, timeout), timeout + CALL_SECONDS)

    def reset_failed(self, unit: str) -> None:
        """Forget that it failed and how often it was started. Does nothing for a unit that is not loaded."""
        try:
            self.call("ResetFailedUnit", "s", unit)
        except Refused as error:
            if not error.error.endswith("NoSuchUnit"):
                raise

    def kill(self, unit: str, number: int) -> None:
        """Signal every process of the unit."""
        self.call("KillUnit", "ssi", unit, "all", number)

    @cached_property
    def version(self) -> int:
        """systemd's."""
        [found] = self._do(self._get("Version"), CALL_SECONDS)
        return int(re.findall(r"\d+", found.value)[0])

    def units(self, *patterns: str) -> dict[str, Unit]:
        """Loaded units whose name matches one of the patterns."""
        [rows] = self.call("ListUnitsByPatterns", "asas", [], list(patterns))
        return {row[0]: Unit(row[3], row[4], row[6], row[8]) for row in rows}

    def load(self, name: str) -> dict[str, Any]:
        """Properties of a unit by name, loaded or not."""
        [path] = self.call("LoadUnit", "s", name)
        return self._do(self._read_properties(path), CALL_SECONDS)

    def call(self, member: str, signature: str, *body: Any) -> list[Any]:
        """Any other call of systemd's manager interface. Raises `Refused`."""
        return self._do(self._call(member, signature, *body), CALL_SECONDS)

    def properties(self, unit: Unit, *, anew: bool = False) -> dict[str, Any]:
        """The unit's properties, kept until systemd signals a change. `anew`: figures such as memory change without."""
        if anew:
            self._properties.pop(unit.path, None)
        return self._do(self._read_properties(unit.path), CALL_SECONDS)

    def _do(self, work: Coroutine[Any, Any, T], timeout: float) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)
        except (OSError, EOFError, AuthError, InvalidAddressError, TimeoutError) as error:
            raise RuntimeFailure(f"systemd does not answer on this machine ({error!r}). Try again.") from error

    async def _connected(self) -> MessageBus:
        if self._bus is None or not self._bus.connected:
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            bus.add_message_handler(self._on_message)
            self._bus, self._properties, self._results = bus, {}, {}
            for rule in (
                f"type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'",
                f"type='signal',sender='{SYSTEMD}',interface='{PROPERTIES}',path_namespace='{UNITS_BELOW}'",
            ):
                await self._send(bus, "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "AddMatch", "s", rule)
            await self._send(bus, SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe", "")
        return self._bus

    async def _get(self, name: str) -> list[Any]:
        bus = await self._connected()
        return await self._send(bus, SYSTEMD, MANAGER_PATH, PROPERTIES, "Get", "ss", MANAGER, name)

    async def _call(self, member: str, signature: str, *body: Any) -> list[Any]:
        return await self._send(await self._connected(), SYSTEMD, MANAGER_PATH, MANAGER, member, signature, *body)

    @staticmethod
    async def _send(
        bus: MessageBus, to: str, path: str, interface: str, member: str, signature: str, *body: Any
    ) -> list[Any]:
        message = Message(
            destination=to, path=path, interface=interface, member=member, signature=signature, body=list(body)
        )
        async with asyncio.timeout(CALL_SECONDS):
            reply = await bus.call(message)
        if reply.message_type is MessageType.ERROR:
            raise Refused(reply.error_name or "", str(reply.body[0]) if reply.body else "")
        return list(reply.body)

    def _on_message(self, message: Message) -> None:
        """Signals of systemd; called in order with the replies."""
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "JobRemoved":
            _, job, _, result = message.body
            self._results[job] = result
            while len(self._results) > 1000:
                self._results.pop(next(iter(self._results)))
            self._loop.create_task(self._wake())
        elif message.member == "PropertiesChanged":
            self._changes += 1
            self._properties.pop(message.path or "", None)
            for listener in self._listeners:
                listener()

    async def _wake(self) -> None:
        async with self._ended:
            self._ended.notify_all()

    async def _run_job(self, verb: str, unit: str, seconds: float) -> str:
        [job] = await self._call(f"{verb}Unit", "ss", unit, "replace")
        try:
            async with asyncio.timeout(seconds), self._ended:
                await self._ended.wait_for(lambda: job in self._results)
                return self._results.pop(job)
        except TimeoutError:
            return "timeout"

    async def _read_properties(self, path: str) -> dict[str, Any]:
        if path not in self._properties:
            bus, changes = await self._connected(), self._changes
            [raw] = await self._send(bus, SYSTEMD, path, PROPERTIES, "GetAll", "s", "")
            found = {name: variant.value for name, variant in raw.items()}
            if changes != self._changes:  # it may have changed since systemd wrote the answer
                return found
            self._properties[path] = found
        return self._properties[path]
