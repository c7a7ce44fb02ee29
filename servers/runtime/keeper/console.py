"""Writing a game's output to disk: the keeper's half of the console (`servers/runtime/console.py` reads it).

The log is a chain of segments, each named by the position in the whole output at which it begins, so the next
segment's name is this one's start plus its size and a position never means two things. Every finished segment ends with
a newline. The last two are kept.
"""

import math
import os
import time

SEGMENT_BYTES = 8 << 20
LINE_BYTES = 64 << 10  # a longer line is broken when a segment must end
BEGUN_SECONDS = 1.0  # a line that is not ended within them is ended here, so that its begin (“Loading …”) is seen
MARK = b"[left4me] "


def segment_name(start: int) -> str:
    return f"{start:020d}.log"


def segment_starts(folder: str | int) -> list[int]:
    """Where each segment in `folder` begins, oldest first."""
    return sorted(int(name[:-4]) for name in os.listdir(folder) if name.endswith(".log") and name[:-4].isdigit())


class Console:
    """Appends to the log in the folder behind the descriptor `folder`. Never raises for a full disk: it counts."""

    def __init__(self, folder: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._limit = segment_bytes
        self._lost = 0
        self._begun_at = math.inf
        self._ended_early = False
        starts = segment_starts(folder)
        self._open(starts[-1] if starts else 0)

    def _open(self, start: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._file = os.open(segment_name(start), flags, 0o600, dir_fd=self._folder)
        self._start, self._size = start, os.fstat(self._file).st_size
        self._at_line_start = not self._size or os.pread(self._file, 1, self._size - 1) == b"\n"

    def write(self, data: bytes) -> None:
        """Append output as it came, but for the end of a line that was ended already."""
        if self._ended_early and data:
            data, self._ended_early = data.removeprefix(b"\n"), False
        if self._lost:
            self._report_loss()
        if self._size >= self._limit:
            if not self._at_line_start:
                head, newline, data = data.partition(b"\n")
                too_long = not newline and self._size >= self._limit + LINE_BYTES
                self._append(head + (b"\n" if too_long else newline))
            if self._at_line_start:
                self._rotate()
        self._append(data)
        if self._at_line_start:
            self._begun_at = math.inf
        elif b"\n" in data or self._begun_at == math.inf:
            self._begun_at = time.monotonic()

    @property
    def due(self) -> float:
        """When to call `end_begun_line` (`time.monotonic`)."""
        return self._begun_at + BEGUN_SECONDS

    def end_begun_line(self) -> None:
        """End a line that the game has begun and not ended, once it is `due`; what it prints next is another line."""
        if time.monotonic() >= self.due:
            self.end_line()
            self._ended_early = True

    def remark(self, text: str) -> None:
        """Append a line of the keeper's own."""
        self.write((b"" if self._at_line_start else b"\n") + MARK + text.encode() + b"\n")

    def end_line(self) -> None:
        """End the game's last line where it did not itself, so that readers get it."""
        if not self._at_line_start:
            self.write(b"\n")

    def _append(self, data: bytes) -> None:
        """Write all of `data`; what a full disk does not take is counted as lost."""
        while data:
            try:
                written = os.write(self._file, data)
            except OSError:
                self._lost += len(data)
                return
            self._size += written
            self._at_line_start = data[written - 1 : written] == b"\n"
            data = data[written:]

    def _report_loss(self) -> None:
        lost, self._lost = self._lost, 0
        start = b"" if self._at_line_start else b"\n"
        self._append(b"%s%s%d bytes of output were not kept: the disk was full.\n" % (start, MARK, lost))
        if self._lost:
            self._lost = lost

    def _rotate(self) -> None:
        previous, old = self._start, self._file
        try:
            self._open(self._start + self._size)
        except OSError:
            return
        os.close(old)
        for start in segment_starts(self._folder):
            if start < previous:
                os.unlink(segment_name(start), dir_fd=self._folder)
