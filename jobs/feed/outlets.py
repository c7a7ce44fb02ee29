"""The way out under an ASGI server other than ours, by its `send` alone: correct, without the ready-made frames."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from jobs.feed.frames import Frame

FULL = 64 * 1024  # bytes waiting for the server to take them


class SendOutlet:
    """See `jobs.feed.viewers.Outlet`; leans on the server to await its own buffer in `send`, and has no heartbeat."""

    beats = False

    def __init__(self, send: Any) -> None:
        self._send = send
        self._queue: deque[dict[str, Any]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._on_drain: Callable[[], None] | None = None
        self.paused = False

    def open(self, on_drain: Callable[[], None]) -> None:
        self._on_drain = on_drain

    def write(self, frame: Frame) -> None:
        self._put({"type": "websocket.send", "text": frame.text}, len(frame.wire))

    def close(self, code: int, reason: str = "") -> None:
        self._put({"type": "websocket.close", "code": code, "reason": reason}, 0)

    refuse = close

    def _put(self, message: dict[str, Any], size: int) -> None:
        self._queue.append(message)
        self._bytes += size
        self.paused = self._bytes > FULL
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            await self._send(self._queue.popleft())
        self._bytes, was_paused, self.paused = 0, self.paused, False
        if was_paused and self._on_drain:
            self._on_drain()
