"""Viewers who open a console that has lines already, in waves, while more lines are written.

Some watch at its end from the beginning: the delay is theirs, among those who catch up. Nobody may stay behind.
"""

import math
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.bench.figure import Figure
from tests.bench.scale import scaled
from tests.load.delivery import BATCHES, LINES, last

if TYPE_CHECKING:
    from tests.load.portal import Site

CASES = scaled(((0, 4000), (300, 1000), (1005, 4000), (20_000, 1000)), ((1005, 8),))  # lines, viewers
AT_THE_END = scaled(100, 2)
WAVES = 4
CAUGHT_UP = scaled(30, 10)  # seconds after the last line, in which everybody should have it


def figures() -> Iterator[Figure]:
    from tests.load.portal import Site  # needs Django set up

    site = Site()
    for lines, viewers in CASES:
        yield from _backlog(site, lines, viewers)


def _backlog(site: "Site", lines: int, viewers: int) -> Iterator[Figure]:
    stream = site.stream()
    _fill(stream, lines)
    with (
        site.run(AT_THE_END, [stream], after=lines) as running,
        site.viewers(running.ports[0], 0, [stream]) as coming,
    ):
        clients = [running.client, coming]
        for client in clients:
            client.ask("watch")
        _come_while_lines_are_written(coming, stream, lines, viewers)
        for client in clients:
            client.start("until", target=last(stream), seconds=CAUGHT_UP)
        took = [client.answer() for client in clients]
        at_the_end, _ = reports = [client.ask("report") for client in clients]
    name = f"feed.backlog_of_{lines}_lines_and_{viewers}_viewers"
    short = sum(report["open"] - report["complete"] for report in reports)
    gone = viewers + AT_THE_END - sum(report["open"] for report in reports)
    yield Figure(f"{name}.viewers_short_of_the_last_line", short + gone, "viewers", 0)
    yield Figure(f"{name}.lost_or_doubled", sum(one["lost"] + one["doubled"] for one in reports), "lines", 0)
    yield Figure(f"{name}.everybody_caught_up", math.nan if min(took) < 0 else max(took), "s", 10)
    yield Figure(f"{name}.p50_at_the_end", at_the_end.get("p50", math.nan), "ms")
    yield Figure(f"{name}.p99_at_the_end", at_the_end.get("p99", math.nan), "ms", 2500)


def _fill(stream: int, lines: int) -> None:
    from jobs.streams import append

    for start in range(0, lines, 1000):
        some = range(start, min(lines, start + 1000))
        append(stream, [f"0 Player {number % 24} picked up a first aid kit near the safe room" for number in some])


def _come_while_lines_are_written(client, stream: int, lines: int, viewers: int) -> None:  # type: ignore[no-untyped-def]
    """In waves, each spread over who has nothing yet, a third, two thirds and all of the lines."""
    from tests.load.portal import come
    from tests.load.processes import write

    everybody_is_there = threading.Event()
    writer = threading.Thread(
        target=write, args=([stream],), kwargs={"until": everybody_is_there, "batches": BATCHES, "lines": LINES}
    )
    writer.start()
    try:
        for _ in range(WAVES):
            come(client, viewers // WAVES, [stream], [0, lines // 3, lines * 2 // 3, lines])
    finally:
        everybody_is_there.set()
        writer.join()
