"""The same live log written the usual way, to stand beside the feed: a channel layer's group, one send a batch.

An ASGI application for daphne, with the in-memory layer, the fastest there is: a layer over a network adds to this.
"""

import asyncio
import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.load.usual_settings")
pages = get_asgi_application()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from jobs import streams  # noqa: E402
from jobs.feed import database  # noqa: E402


class Log(AsyncJsonWebsocketConsumer):
    task: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        Log.task = Log.task or asyncio.create_task(follow())
        await self.channel_layer.group_add(f"stream-{self.scope['url_route']['kwargs']['stream']}", self.channel_name)
        await self.accept()

    async def lines(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "lines", "lines": event["lines"]})


async def follow() -> None:
    """Read each batch once and send it to its group."""
    layer, read, after = get_channel_layer(), database_sync_to_async(streams.read), {}
    told: asyncio.Queue[int] = asyncio.Queue()

    async def forward() -> None:
        while True:
            stream = await told.get()
            if lines := await read(stream, after=after.get(stream, 0), limit=1000):
                after[stream] = lines[-1][0]
                await layer.group_send(f"stream-{stream}", {"type": "lines", "lines": lines})

    forwarding = asyncio.create_task(forward())
    await database.listen(
        told=lambda stream, last: told.put_nowait(stream), changed=lambda topic: None, regained=lambda: None
    )
    forwarding.cancel()


application = ProtocolTypeRouter(
    {"http": pages, "websocket": URLRouter([path("ws/streams/<int:stream>/", Log.as_asgi())])}
)
