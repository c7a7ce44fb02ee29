"""Any log as a text file, in bounded memory and without holding a database connection while a slow client reads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

from channels.db import database_sync_to_async
from django.db import DatabaseError, close_old_connections
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_safe

from jobs import streams
from jobs.pages import members_only
from jobs.policy import Asked, decide
from jobs.views import stream_for

BATCH = 1000  # lines
BATCH_BYTES = 128 * 1024  # a client that reads slowly has one batch waiting, and a minute for each (portal/throttle.py)
ASK_SECONDS = 1  # until access is asked for again; reading ends with the right to read
LAST_WORDS_SECONDS = 0.5  # for a client to read why

# However many download, they take two of the connections that all pages share, and none of others' threads.
_executor = ThreadPoolExecutor(2, thread_name_prefix="downloads")
read = database_sync_to_async(streams.read, thread_sensitive=False, executor=_executor)
ask = database_sync_to_async(decide, thread_sensitive=False, executor=_executor)


@members_only  # type: ignore[arg-type]  # django-stubs: HttpResponse is no base of it
@require_safe
def download(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """`/streams/{id}.txt`: every line kept at this moment, as `2026-01-31T20:15:00.250Z text`."""
    stream = stream_for(request, pk)
    close_old_connections()  # the pool's connection goes back now, not when the last byte is sent
    credential = f"session:{request.session.session_key}"
    abort = getattr(request, "scope", {}).get("abort", lambda: None)  # `portal/web.py` gives one
    response = StreamingHttpResponse(
        text_lines(stream.pk, stream.first_seq, stream.last_seq, credential, abort),
        content_type="text/plain; charset=utf-8",
    )
    response["Content-Disposition"] = f'attachment; filename="log-{pk}.txt"'
    return response


async def text_lines(
    stream: int, first: int, last: int, credential: str, abort: Callable[[], None] = lambda: None
) -> AsyncIterator[str]:
    """Lines `first` to `last` in batches; says so when retention overtook the reader or `credential` lost the right.

    `abort` ends the connection of a client that does not even read that.
    """
    revoked = asyncio.Event()
    watching = asyncio.create_task(_watch(Asked(credential, stream), revoked, abort))
    try:
        async for piece in _pieces(stream, first, last):
            if revoked.is_set():
                yield "(you may no longer read this log)\n"
                return
            yield piece
    finally:
        watching.cancel()


async def _watch(question: Asked, revoked: asyncio.Event, abort: Callable[[], None]) -> None:
    """Ask again and again whether reading is still allowed, also while the client takes nothing."""
    while not revoked.is_set():
        await asyncio.sleep(ASK_SECONDS)
        with suppress(DatabaseError):  # what was allowed stays so until the database answers
            if (await ask([question]))[question].code:
                revoked.set()
    await asyncio.sleep(LAST_WORDS_SECONDS)
    abort()


async def _pieces(stream: int, first: int, last: int) -> AsyncIterator[str]:
    after = first - 1
    while after < last:
        found = await read(stream, after=after, limit=min(BATCH, last - after), most_bytes=BATCH_BYTES)
        if not found:
            yield f"(lines {after + 1} to {last} are no longer kept)\n"
            return
        if found[0][0] > after + 1:
            yield f"(lines {after + 1} to {found[0][0] - 1} are no longer kept)\n"
        after = found[-1][0]
        yield "".join(f"{_stamp(at)} {text}\n" for _, at, text in found)


def _stamp(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"
