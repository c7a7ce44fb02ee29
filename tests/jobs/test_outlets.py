"""The way out under an ASGI server that is not ours: in order, paused while the server takes nothing."""

import asyncio
from typing import Any

from jobs.feed.frames import Frame, message
from jobs.feed.outlets import FULL, SendOutlet


class Client:
    """The far end of an ASGI server's `send`; takes messages while it reads."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.reads = asyncio.Event()

    async def send(self, sent: dict[str, Any]) -> None:
        await self.reads.wait()
        self.got.append(sent)


async def test_messages_come_in_order_and_the_close_code_behind_them() -> None:
    client = Client()
    client.reads.set()
    outlet = SendOutlet(client.send)
    outlet.open(lambda: None)
    for number in range(5):
        outlet.write(message(type="state", state=str(number)))
    outlet.close(4403, "No more.")
    await asyncio.sleep(0.01)
    assert [sent.get("text") for sent in client.got[:2]] == [
        '{"type":"state","state":"0"}',
        '{"type":"state","state":"1"}',
    ]
    assert client.got[-1] == {"type": "websocket.close", "code": 4403, "reason": "No more."}
    assert len(client.got) == 6


async def test_a_client_that_takes_nothing_pauses_it_until_it_reads_again() -> None:
    client, drained = Client(), []
    outlet = SendOutlet(client.send)
    outlet.open(lambda: drained.append(True))
    for _ in range(2):
        outlet.write(Frame(b"x" * FULL))
    await asyncio.sleep(0.01)
    assert outlet.paused
    assert not drained
    client.reads.set()
    await asyncio.sleep(0.01)
    assert not outlet.paused
    assert drained == [True]
    assert len(client.got) == 2
