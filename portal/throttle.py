"""Makes a streamed HTTP response wait for its client: daphne alone would take a whole download into memory."""

import asyncio
from typing import Any

STALLED_SECONDS = 60  # a client that takes nothing for so long is cut off


def abort(request: Any) -> None:
    """End the connection of an HTTP request at once, whatever its client has not read yet."""
    if request.channel:
        request.channel.forceAbortClient()


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
            # Not wait_for, which until Python 3.12 loses a cancellation that comes with what it waits for. They come
            # together when a client goes, and the whole response would then be made for nobody.
            async with asyncio.timeout(STALLED_SECONDS):
                await self._may_send.wait()
        except TimeoutError:
            abort(self._request)

    def pauseProducing(self) -> None:
        self._may_send.clear()

    def resumeProducing(self) -> None:
        self._may_send.set()

    stopProducing = resumeProducing
