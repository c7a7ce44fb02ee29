"""Makes a streamed HTTP response wait for its client: daphne alone would take a whole download into memory."""

import asyncio
from typing import Any

STALLED_SECONDS = 60  # a client that takes nothing for so long is cut off


class Throttle:
    """The `IPushProducer` of one streamed response (a Twisted request)."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._may_send = asyncio.Event()
        self._may_send.set()
        request.registerProducer(self, True)

    async def ready(self) -> None:
        """Return when the client has taken most of what was sent, or is gone."""
        try:
            await asyncio.wait_for(self._may_send.wait(), STALLED_SECONDS)
        except TimeoutError:
            self._request.channel.forceAbortClient()

    def pauseProducing(self) -> None:
        self._may_send.clear()

    def resumeProducing(self) -> None:
        self._may_send.set()

    stopProducing = resumeProducing
