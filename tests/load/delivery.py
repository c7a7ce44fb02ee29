"""Writes to streams that clients watch, and makes figures of what they saw: what the feed's benchmarks share."""

from collections.abc import Iterator
from typing import Any

from tests.bench.figure import Figure
from tests.bench.scale import scaled

SECONDS = scaled(10, 1)
BATCHES, LINES = 5, 10  # a second, and lines a batch


def measure(clients: list[Any], streams: list[int], *, batches: float = BATCHES, lines: int = LINES) -> dict[str, Any]:
    """Write for `SECONDS` and report what the clients saw, the worst of each figure."""
    from tests.load.processes import write

    for client in clients:
        client.ask("watch")
    written = write(streams, seconds=SECONDS, batches=batches, lines=lines)
    target = last(streams[0]) if len(streams) == 1 else 1
    for client in clients:
        client.start("until", target=target, seconds=60)
    for client in clients:
        client.answer()
    reports = [client.ask("report") for client in clients]
    worst = {key: max(report.get(key, float("nan")) for report in reports) for key in ("p50", "p99", "busy", "seconds")}
    summed = {key: sum(report[key] for report in reports) for key in ("open", "complete", "lost", "doubled")}
    return worst | summed | {"written": written}


def delivery(name: str, seen: dict[str, Any], **bounds: float | None) -> Iterator[Figure]:
    yield Figure(f"{name}.p50", seen.get("p50", float("nan")), "ms", bounds.get("p50"))
    yield Figure(f"{name}.p99", seen.get("p99", float("nan")), "ms", bounds.get("p99"))
    yield Figure(f"{name}.lost_or_doubled", seen["lost"] + seen["doubled"], "lines", 0)
    yield Figure(f"{name}.viewers_short_of_the_last_line", seen["open"] - seen["complete"], "viewers", 0)
    yield Figure(f"{name}.client_busy", seen["busy"] * 100, "%_of_a_core")


def last(stream: int) -> int:
    from jobs.models import Stream

    return Stream.objects.get(pk=stream).last_seq


def answers(address: int | str) -> bool:
    import socket

    family, target = (socket.AF_UNIX, address) if isinstance(address, str) else (socket.AF_INET, ("127.0.0.1", address))
    with socket.socket(family) as probe:
        return probe.connect_ex(target) == 0
