"""Reading a game's output from disk: the agent's half of the console; `keeper/console.py` is the writer's."""

import os
from pathlib import Path

from servers.runtime.keeper.console import MARK, SEGMENT_BYTES, segment_name, segment_starts

READ_BYTES = 256 << 10  # at once; a longer line comes in pieces


def read(folder: Path, cursor: str, limit: int, *, segment_bytes: int = SEGMENT_BYTES) -> tuple[list[str], str]:
    """Up to `limit` next lines of the log in `folder`, and the cursor to go on from: START:OFFSET in a segment.

    `segment_bytes`: below this size a segment cannot be finished, so nothing is looked for after it.
    """
    start, offset = before = _parse(cursor)
    lines: list[str] = []
    while len(lines) < limit:
        try:
            size = (folder / segment_name(start)).stat().st_size
        except FileNotFoundError:
            found = _find(folder, start + offset)
            if found is None:
                break
            start, offset = found[0], 0
            lines += found[1]
            continue
        if size > offset:
            new, taken = _lines(folder / segment_name(start), offset, limit - len(lines))
            lines += new
            offset += taken
            break
        if size < segment_bytes or not (folder / segment_name(start + size)).exists():
            break
        start, offset = start + size, 0
    return lines, cursor if (start, offset) == before else f"{start}:{offset}"


def _parse(cursor: str) -> tuple[int, int]:
    start, _, offset = cursor.partition(":")
    return int(start or 0), int(offset or 0)


def _find(folder: Path, position: int) -> tuple[int, list[str]] | None:
    """Where to go on when the segment is gone: the next one's start, and a line that tells what is missing."""
    try:
        starts = segment_starts(str(folder))
    except FileNotFoundError:
        return None
    if not starts:
        return None
    later = [start for start in starts if start >= position]
    if not later:
        return starts[0], [f"{MARK.decode()}The console was started afresh."]
    dropped = later[0] - position
    notice = f"{MARK.decode()}{dropped} bytes of output were dropped before they were read."
    return later[0], [notice] if dropped else []


def _lines(path: Path, offset: int, limit: int) -> tuple[list[str], int]:
    """Whole lines from `offset`, and the bytes they take."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        data = os.pread(descriptor, READ_BYTES, offset)
    finally:
        os.close(descriptor)
    *lines, rest = data.split(b"\n", limit)
    if not lines and len(data) == READ_BYTES:
        lines, rest = [data], b""
    return [line.decode(errors="replace") for line in lines], len(data) - len(rest)
