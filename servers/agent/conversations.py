"""An event loop in a thread of its own, for what waits for games: each waits alone, however long its game is silent."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class Conversations:
    """`start` one from any thread; what it raises is lost, so each catches its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    def start(self, conversation: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(conversation, self._loop)

    def close(self) -> None:
        """Cancel what is under way and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _end_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
