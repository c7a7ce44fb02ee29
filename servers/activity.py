"""A server's last day, week or month out of its samples: made coarser by the database, so a page reads few rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from servers.models import Server

_QUERY = """
    SELECT date_bin(%s::interval, at, 'epoch'), max(players), mode() WITHIN GROUP (ORDER BY nullif(map, '')),
           round(avg(cpu)::numeric, 1)::float, max(memory)
    FROM servers_sample WHERE server_id = %s AND at >= %s GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Range:
    """How far back, and how long a point of the chart and a row of the table are."""

    label: str
    length: timedelta
    point: timedelta
    row: timedelta


RANGES = {
    "24h": Range("24 hours", timedelta(hours=24), timedelta(minutes=5), timedelta(hours=1)),
    "7d": Range("7 days", timedelta(days=7), timedelta(minutes=30), timedelta(hours=6)),
    "30d": Range("30 days", timedelta(days=30), timedelta(hours=2), timedelta(days=1)),
}


@dataclass(frozen=True)
class Span:
    """What is known of one span that begins `at`: the most players, the commonest map, mean processor use in percent of
    one processor, most memory in bytes. All None while the server did not run."""

    at: datetime
    players: int | None = None
    map: str | None = None
    cpu: float | None = None
    memory: int | None = None


def spans(server: Server, chosen: Range, step: timedelta) -> list[Span]:
    """Only spans in which it ran, oldest first: at most `length / step + 1`. One query."""
    with connection.cursor() as db:
        db.execute(_QUERY, [str(step), server.pk, timezone.now() - chosen.length])
        return [Span(*row) for row in db.fetchall()]


def series(server: Server, chosen: Range) -> dict[str, list[Any]]:
    """The points as a list for each figure, as charts want them; `at` in seconds."""
    found = points(server, chosen)
    figures = {name: [getattr(point, name) for point in found] for name in ("players", "map", "cpu", "memory")}
    return figures | {"at": [int(point.at.timestamp()) for point in found]}


def points(server: Server, chosen: Range) -> list[Span]:
    """The whole range without holes, so that a chart shows when it did not run."""
    known = {span.at: span for span in spans(server, chosen, chosen.point)}
    now, step = timezone.now().timestamp(), chosen.point.total_seconds()
    first = (now - chosen.length.total_seconds()) // step
    moments = (
        datetime.fromtimestamp((first + number) * step, timezone.get_default_timezone())
        for number in range(int(now // step - first) + 1)
    )
    return [known.get(at) or Span(at) for at in moments]
