"""Any log as a text file, in bounded memory and without holding a database connection while a slow client reads."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from weakref import WeakSet

from channels.db import database_sync_to_async
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

from jobs import streams
from jobs.pages import member, members_only
from jobs.policy import Asked, decide
from jobs.searches import give_back
from jobs.views import stream_for

BATCH = 1000  # lines
BATCH_BYTES = 128 * 1024  # a client that reads slowly has one batch waiting, and a minute for each (portal/throttle.py)
ASK_SECONDS = 1  # until access is asked for again; reading ends with the right to read
LAST_WORDS_SECONDS = 0.5  # for a client to read why
AT_ONCE = 4  # of one member in a process
TEXT = "text/plain; charset=utf-8"
TOO_MANY = "Too many downloads of yours are under way. Try again when one of them has ended.\n"

# However many download, they take three of the connections that all pages share, and none of others' threads.
_readers = ThreadPoolExecutor(2, thread_name_prefix="downloads")
_asker = ThreadPoolExecutor(1, thread_name_prefix="downloads-access")
read = database_sync_to_async(streams.read, thread_sensitive=False, executor=_readers)
ask = database_sync_to_async(decide, thread_sensitive=False, executor=_asker)


@dataclass(eq=False)
class Download:
    """One that is under way. `abort` ends the connection of a client that reads nothing."""

    user_id: int
    asked: Asked
    abort: Callable[[], None] = lambda: None
    revoked: asyncio.TimerHandle | None = None  # the right to read is lost, and `abort` will be called


class UnderWay:
    """The downloads of this process. For all of them together it is asked again and again who may still read."""

    def __init__(self) -> None:
        self._all: WeakSet[Download] = WeakSet()  # one whose client went before it began goes by itself
        self._lock = Lock()  # pages are answered by threads
        self._task: asyncio.Task[None] | None = None

    def may_add(self, download: Download) -> bool:
        """Add it, unless its member has `AT_ONCE` already."""
        with self._lock:
            if sum(one.user_id == download.user_id for one in self._all) >= AT_ONCE:
                return False
            self._all.add(download)
        return True

    def begin(self, download: Download) -> None:
        """On the event loop: its client is being sent the first lines."""
        with self._lock:
            self._all.add(download)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())

    def remove(self, download: Download) -> None:
        with self._lock:
            self._all.discard(download)
        if download.revoked:
            download.revoked.cancel()

    def _present(self) -> list[Download]:
        with self._lock:
            return list(self._all)

    async def _watch(self) -> None:
        while self._all:
            await asyncio.sleep(ASK_SECONDS)
            with suppress(DatabaseError):  # what was allowed stays so until the database answers
                await self._revoke([one for one in self._present() if not one.revoked])

    async def _revoke(self, downloads: list[Download]) -> None:
        verdicts = await ask({one.asked for one in downloads})
        for one in set(self._present()).intersection(downloads):
            if verdicts[one.asked].code:
                one.revoked = asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, one.abort)


_under_way = UnderWay()


@members_only  # type: ignore[arg-type]  # django-stubs: HttpResponse is no base of StreamingHttpResponse
@require_safe
def download(request: HttpRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
    """`/streams/{id}.txt`: every line kept at this moment, as `2026-01-31T20:15:00.250Z text`."""
    stream = stream_for(request, pk)
    asked = Asked(f"session:{request.session.session_key}", stream.pk)
    abort = getattr(request, "scope", {}).get("abort", lambda: None)  # `portal/web.py` gives one
    one = Download(member(request).pk, asked, abort)
    if not _under_way.may_add(one):
        return HttpResponse(TOO_MANY, content_type=TEXT, status=429, headers={"Retry-After": 10})
    give_back()  # now, not when the last byte is sent
    response = StreamingHttpResponse(text_lines(one, stream.first_seq, stream.last_seq), content_type=TEXT)
    response["Content-Disposition"] = f'attachment; filename="log-{pk}.txt"'
    return response


async def text_lines(download: Download, first: int, last: int) -> AsyncIterator[str]:
    """Lines `first` to `last` in batches; says so when retention overtook the reader or it lost the right to read."""
    _under_way.begin(download)
    try:
        async for piece in _pieces(download.asked.stream or 0, first, last):
            if download.revoked:
                yield "(you may no longer read this log)\n"
                return
            yield piece
    finally:
        _under_way.remove(download)


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
