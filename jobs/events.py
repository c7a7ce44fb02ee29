"""Tells every process that a topic changed: a wake-up at commit that carries no data (topics: docs/architecture.md)."""

from django.db import connection

CHANNEL = "left4me_events"


def publish(*topics: str) -> None:
    """Wake whoever listens for `topics` when the present transaction commits; at once outside of one."""
    with connection.cursor() as db:
        db.execute("SELECT pg_notify(%s, topic) FROM unnest(%s::text[]) AS topic", [CHANNEL, list(topics)])
