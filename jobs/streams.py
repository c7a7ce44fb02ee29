"""Streams of numbered lines: where jobs and consoles write what happened, and what the feed and the downloads read.

The table is the truth. A wake-up (`NOTIFY left4me_lines, 'STREAM:LAST'`) commits with the lines it tells of and
carries no text, so whoever missed one only has to look.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from django.db import connection, transaction
from django.utils import timezone

from jobs.models import Stream

CHANNEL = "left4me_lines"
MAX_LINE = 4096
MAX_RAW = 16 * 1024  # characters of a line as it came, escapes among them, that are looked at
CUT = " … (cut)"
TRIM_BATCH = 10_000
KEEP_BYTES = 32 << 20  # of text in one stream; `Stream.keep` alone would allow gigabytes of long lines

LineRow = tuple[int, int, str]  # seq, milliseconds since 1970, text

# ECMA-48: control sequences (CSI), device and system strings with their terminator, and two-byte escapes. Text that
# only begins a string is matched as well, or it would be gone through again at each beginning in it.
_CONTROL_SEQUENCE = r"[0-?]*[ -/]*[@-~]"
_ESCAPES = re.compile(
    rf"(?:\x1b\[|\x9b){_CONTROL_SEQUENCE}"
    r"|(?:\x1b[PX^_\]]|[\x90\x98\x9d\x9e\x9f])(?P<string>[^\x07\x1b\x9c]*)(?P<end>\x07|\x1b\\|\x9c|)"
    r"|\x1b[ -/]*[0-~]"
)
_IN_STRING = re.compile(rf"\x9b{_CONTROL_SEQUENCE}")
# What is left of C0 and C1, and the marks that reorder text: a name must not rewrite the line it stands in.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")

# One statement, so that number, lines, cursor and wake-up commit together whether or not the caller has a
# transaction. The row lock of the UPDATE puts writers of one stream in order: numbers have no holes.
_APPEND = """
WITH moved AS (
    UPDATE jobs_stream SET last_seq = last_seq + %(count)s, size_bytes = size_bytes + %(size)s,
        cursor = COALESCE(%(cursor)s, cursor)
    WHERE id = %(stream)s RETURNING last_seq
), written AS (
    INSERT INTO jobs_line (stream_id, seq, at, text)
    SELECT %(stream)s, moved.last_seq - %(count)s + given.number, given.at, given.text
    FROM moved, unnest(%(at)s::timestamptz[], %(text)s::text[]) WITH ORDINALITY AS given (at, text, number)
)
SELECT last_seq, CASE WHEN %(count)s > 0 THEN pg_notify(%(channel)s, %(stream)s || ':' || last_seq) END FROM moved
"""
_READ = """
SELECT seq, (extract(epoch FROM at) * 1000)::bigint, text FROM (
    SELECT seq, at, text, sum(octet_length(text)) OVER (ORDER BY seq) - octet_length(text) AS before FROM (
        SELECT seq, at, text FROM jobs_line WHERE stream_id = %s AND seq > %s ORDER BY seq LIMIT %s
    ) next
) counted WHERE before < %s ORDER BY seq
"""
_EXCESS = """
SELECT last_seq - first_seq + 1 - keep, size_bytes - %(most)s FROM jobs_stream WHERE id = %(stream)s FOR UPDATE
"""
# How many of the oldest lines have so many bytes; of a batch at most.
_OLDEST = """
SELECT count(*) FROM (
    SELECT sum(octet_length(text)) OVER (ORDER BY seq) - octet_length(text) AS before FROM (
        SELECT seq, text FROM jobs_line WHERE stream_id = %(stream)s ORDER BY seq LIMIT %(batch)s
    ) oldest
) counted WHERE before < %(bytes)s
"""
_TRIM = """
WITH gone AS (
    DELETE FROM jobs_line USING jobs_stream s
    WHERE s.id = %(stream)s AND stream_id = s.id AND seq < s.first_seq + %(count)s RETURNING octet_length(text) AS size
)
UPDATE jobs_stream SET first_seq = first_seq + %(count)s,
    size_bytes = size_bytes - (SELECT COALESCE(sum(size), 0) FROM gone)
WHERE id = %(stream)s
"""


def append(
    stream_id: int, lines: Sequence[str], *, at: datetime | Sequence[datetime] | None = None, cursor: str | None = None
) -> int:
    """Number and store `lines`, which `clean` made; returns the stream's last number.

    `at`: one time for all or one a line; now by default. `cursor`: how far the source was read, saved with the lines
    (also with none). Raises `Stream.DoesNotExist`.
    """
    times = list(at) if isinstance(at, Sequence) else [at or timezone.now()] * len(lines)
    if len(times) != len(lines):
        raise ValueError("append needs one time for all lines, or one for each")
    values: dict[str, Any] = {"stream": stream_id, "count": len(lines), "at": times, "text": list(lines)}
    values |= {"size": sum(len(line.encode()) for line in lines), "cursor": cursor, "channel": CHANNEL}
    with connection.cursor() as db:
        db.execute(_APPEND, values)
        if row := db.fetchone():
            return int(row[0])
    raise Stream.DoesNotExist(f"There is no stream {stream_id}.")


def clean(text: str | bytes) -> list[str]:
    """Lines fit to store and show: no escapes, no control characters but tabs, at most `MAX_LINE` characters each.

    A line redrawn with carriage returns (a progress bar) is what it last said. The text is split at newlines only;
    a last line without one counts as a line.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [_clean_line(line) for line in lines]


def _clean_line(line: str) -> str:
    is_cut = len(line) > MAX_RAW
    if is_cut:
        line = line.rstrip("\r").rpartition("\r")[2][:MAX_RAW]
    if not (line.isascii() and line.isprintable()):
        line = _ESCAPES.sub(_without_escape, line).rstrip("\r").rpartition("\r")[2]
        line = _SURROGATES.sub("\ufffd", _CONTROLS.sub("", line))
    return line[: MAX_LINE - len(CUT)] + CUT if is_cut or len(line) > MAX_LINE else line


def _without_escape(found: re.Match[str]) -> str:
    """Nothing; of a string without its end all but an escape of two bytes, for it is text."""
    if found["string"] is None or found["end"]:
        return ""
    return _IN_STRING.sub("", found["string"] if found[0][0] == "\x1b" else found[0])


def read(stream_id: int, *, after: int, limit: int, most_bytes: int = 2**62) -> list[LineRow]:
    """Up to `limit` lines numbered above `after`, in order; none more once they have `most_bytes` of text."""
    with connection.cursor() as db:
        db.execute(_READ, [stream_id, after, limit, most_bytes])
        return cast(list[LineRow], db.fetchall())


def trim() -> int:
    """Delete the oldest lines of each stream that has more than its `keep`, or than `KEEP_BYTES` of text; returns the
    number of lines deleted.

    Each batch raises `first_seq` in the transaction that deletes, so a reader always knows what is gone.
    """
    with connection.cursor() as db:
        db.execute("SELECT id FROM jobs_stream WHERE last_seq - first_seq >= keep OR size_bytes > %s", [KEEP_BYTES])
        streams = [row[0] for row in db.fetchall()]
    total = 0
    for stream in streams:
        while count := _trim_some(stream):
            total += count
    return total


def _trim_some(stream: int) -> int:
    """Delete `TRIM_BATCH` lines at most; returns how many."""
    values = {"stream": stream, "batch": TRIM_BATCH, "most": KEEP_BYTES}
    with transaction.atomic(), connection.cursor() as db:
        db.execute(_EXCESS, values)
        lines, size = db.fetchone() or (0, 0)
        if size > 0:
            db.execute(_OLDEST, values | {"bytes": size})
            lines = max(lines, db.fetchone()[0])
        count = max(0, min(lines, TRIM_BATCH))
        if count:
            db.execute(_TRIM, values | {"count": count})
        return count
