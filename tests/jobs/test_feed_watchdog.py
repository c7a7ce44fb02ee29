"""A viewer who stays behind is found, counted, told of in the log and helped on, whatever kept it there."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from django.db import connection

from jobs import streams
from jobs.feed import metrics, watchdog
from jobs.feed.tail import Tail
from jobs.feed.watchdog import Watchdog
from jobs.models import Stream
from tests.jobs.feed_model import Client, Rows

pytestmark = [pytest.mark.django_db(transaction=True)]
PATIENCE = 15


@pytest.fixture
def stream(transactional_db: None) -> Stream:
    made = Stream.objects.create()
    streams.append(made.pk, [f"{made.pk}:1", f"{made.pk}:2"])
    return made


@pytest.fixture
async def tail(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tail]:
    """Reads from PostgreSQL, and hears of nothing: nobody passes wake-ups on to it."""
    monkeypatch.setattr(watchdog, "STALLED_SECONDS", 0.5)
    made = Tail()
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    if made._reader._connection:
        await made._reader._connection.close()


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


def watching(tail: Tail, stream: Stream) -> Client:
    client = Client(stream.pk, 0, Rows())
    tail.attach(client.viewer, stream.pk, 0)
    return client


def write(stream: Stream) -> None:
    streams.append(stream.pk, [f"{stream.pk}:3"])
    connection.close()


async def test_a_viewer_whose_wake_up_was_lost_is_helped_on(
    tail: Tail, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    client, dog = watching(tail, stream), Watchdog(tail)
    await until(lambda: client.at == 2)
    await asyncio.to_thread(write, stream)
    before = metrics.stalled._value.get()

    await dog.look()
    assert metrics.stalled._value.get() == before, "behind for a moment only"
    await asyncio.sleep(watchdog.STALLED_SECONDS)
    with caplog.at_level(logging.WARNING):
        await dog.look()

    assert metrics.stalled._value.get() == before + 1
    assert f"1 viewers of stream {stream.pk} stayed behind" in caplog.text
    await until(lambda: client.at == 3)
    await dog.look()
    await asyncio.sleep(watchdog.STALLED_SECONDS)
    await dog.look()
    assert metrics.stalled._value.get() == before + 1, "counted once"
    await dog._connection.close()  # type: ignore[union-attr]


async def test_who_is_paused_or_has_everything_is_left_alone(tail: Tail, stream: Stream) -> None:
    done, paused, dog = watching(tail, stream), watching(tail, stream), Watchdog(tail)
    await until(lambda: done.at == paused.at == 2)
    paused.viewer.paused_at = 1.0
    before, reads = metrics.stalled._value.get(), metrics.reads._value.get()
    await dog.look()
    done.viewer.after, paused.viewer.after = 2, 1
    await asyncio.sleep(watchdog.STALLED_SECONDS)
    await dog.look()
    assert metrics.stalled._value.get() == before
    assert metrics.reads._value.get() == reads
    await dog._connection.close()  # type: ignore[union-attr]


async def test_a_number_that_nobody_wrote_does_not_silence_a_stream(tail: Tail, stream: Stream) -> None:
    client = watching(tail, stream)
    await until(lambda: client.at == 2)
    tail.told(stream.pk, 10**12)
    await asyncio.to_thread(write, stream)
    tail.told(stream.pk, 3)
    await until(lambda: client.at == 3)
