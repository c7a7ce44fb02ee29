"""The door of the feed: bounds the number of sockets, and asks the policy in rounds of many."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable
from concurrent.futures import ThreadPoolExecutor

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError

from jobs.feed import metrics
from jobs.policy import Asked, Verdict, decide

logger = logging.getLogger(__name__)

Decide = Callable[[Collection[Asked]], Awaitable[dict[Asked, Verdict]]]
ROUND = 1000  # askers a round
ANSWER_SECONDS = 20  # less than a handshake may take, so that whoever waits is told to come again
CLOSE_TOO_MANY, CLOSE_TRY_LATER = 4429, 1013


class Gate:
    """Verdicts in rounds: whoever asks while a round is under way is answered by the next."""

    def __init__(self) -> None:
        self._waiting: dict[Asked, asyncio.Future[Verdict]] = {}
        self._wake = asyncio.Event()
        executor = ThreadPoolExecutor(1, thread_name_prefix="feed-gate")
        self._decide: Decide = database_sync_to_async(decide, thread_sensitive=False, executor=executor)

    async def ask(self, asked: Asked) -> Verdict:
        """The policy's answer; the code 1013 (try again later) when the database does not answer."""
        if asked not in self._waiting:
            self._waiting[asked] = asyncio.get_running_loop().create_future()
            self._wake.set()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asyncio.shield(self._waiting[asked])
        except TimeoutError:
            return Verdict(CLOSE_TRY_LATER)

    async def run(self) -> None:
        """Answer for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                round_ = {asked: self._waiting.pop(asked) for asked in list(self._waiting)[:ROUND]}
                verdicts = await self._answers(round_.keys())
                for asked, future in round_.items():
                    if not future.done():
                        future.set_result(verdicts.get(asked, Verdict(CLOSE_TRY_LATER)))

    async def _answers(self, asked: Collection[Asked]) -> dict[Asked, Verdict]:
        metrics.checks.inc()
        try:
            return await self._decide(asked)
        except DatabaseError as error:
            logger.warning("Access could not be checked: %s", error)
        except Exception:  # whoever waits must get an answer
            logger.exception("Access could not be checked.")
        return {}


class Limits:
    """Bounds open sockets by user, address and stream (`settings.SOCKET_LIMITS`)."""

    def __init__(self) -> None:
        self._open: Counter[tuple[str, Hashable]] = Counter()

    def enter(self, **keys: Hashable) -> str:
        """Count a socket under its keys, as in `enter(user=7, address="::1")`; or count nothing and return which
        bound it would break."""
        for name, key in keys.items():
            if self._open[name, key] >= settings.SOCKET_LIMITS[name]:
                return name
        self._open.update(keys.items())
        return ""

    def leave(self, **keys: Hashable) -> None:
        for one in keys.items():
            self._open[one] -= 1
            if self._open[one] <= 0:
                del self._open[one]
