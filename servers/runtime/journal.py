"""The games' lines on a real host: reads the journal namespace `left4me` through libsystemd, each line exactly once.

Debian's libsystemd is on every machine that has a journal; the few calls needed are declared here (sd-journal(3)), so
that no process has to be started and no text parsed. The agent may read this namespace and no other journal.
"""

import ctypes
import os
import threading
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p

NAMESPACE = "left4me"
SD_JOURNAL_LOCAL_ONLY = 1
SD_JOURNAL_NOP = 0
READ_BYTES = 256 << 10  # after so many no more lines are read at once


class JournalError(Exception):
    """The journal cannot be read: not there, or not allowed."""


def _library() -> ctypes.CDLL:
    found = ctypes.CDLL("libsystemd.so.0")
    pointer = POINTER(c_void_p)
    for name, arguments in {
        "open_namespace": [pointer, c_char_p, c_int],
        "get_fd": [c_void_p],
        "process": [c_void_p],
        "add_match": [c_void_p, c_char_p, c_size_t],
        "seek_head": [c_void_p],
        "seek_tail": [c_void_p],
        "seek_cursor": [c_void_p, c_char_p],
        "seek_realtime_usec": [c_void_p, c_uint64],
        "next": [c_void_p],
        "previous_skip": [c_void_p, c_uint64],
        "test_cursor": [c_void_p, c_char_p],
        "get_cursor": [c_void_p, POINTER(c_void_p)],
        "get_realtime_usec": [c_void_p, POINTER(c_uint64)],
        "get_data": [c_void_p, c_char_p, pointer, POINTER(c_size_t)],
    }.items():
        function = getattr(found, f"sd_journal_{name}")
        function.argtypes, function.restype = arguments, c_int
    found.sd_journal_flush_matches.argtypes, found.sd_journal_flush_matches.restype = [c_void_p], None
    return found


class Journal:
    """A reader of the namespace, for one process; calls are made one at a time."""

    def __init__(self) -> None:
        self._sd = _library()
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [c_void_p]
        self._lock = threading.Lock()
        self._handle = c_void_p()
        self._check(self._sd.sd_journal_open_namespace(byref(self._handle), NAMESPACE.encode(), SD_JOURNAL_LOCAL_ONLY))
        # From now on it notices new files. Readable some time after the journal changed: once for many entries.
        self.descriptor = self._check(self._sd.sd_journal_get_fd(self._handle))
        self._changed = False

    def read(self, unit: str, cursor: str, *, since: int, limit: int) -> tuple[list[str], str, bool]:
        """Up to `limit` lines of `unit` after `cursor`, the new cursor, and whether lines were dropped unread.

        `since`: microseconds of the clock before which nothing is the server's own; "" as cursor begins there.
        """
        with self._lock:
            self._select(unit)
            found, dropped = self._go(cursor, since)
            lines: list[str] = []
            size = 0
            while found and len(lines) < limit:
                lines.append(self._message())
                size += len(lines[-1])
                found = len(lines) < limit and size < READ_BYTES and self._next()
            return lines, self._cursor() if lines else cursor, dropped

    def tail(self, unit: str, lines: int, *, since: int) -> list[str]:
        """The last `lines` lines of `unit`, none from before `since`."""
        with self._lock:
            self._select(unit)
            self._check(self._sd.sd_journal_seek_tail(self._handle))
            kept: list[str] = []
            if self._check(self._sd.sd_journal_previous_skip(self._handle, lines)):
                found = True
                while found:
                    kept += [self._message()] if self._at() >= since else []
                    found = self._next()
            return kept

    def has_changed(self) -> bool:
        """Whether there may be new lines, of whatever unit, since this was asked last."""
        with self._lock:
            self._process()
            changed, self._changed = self._changed, False
            return changed

    def _process(self) -> None:
        self._changed |= self._check(self._sd.sd_journal_process(self._handle)) != SD_JOURNAL_NOP

    def _select(self, unit: str) -> None:
        self._process()
        self._sd.sd_journal_flush_matches(self._handle)
        match = f"_SYSTEMD_UNIT={unit}".encode()
        self._check(self._sd.sd_journal_add_match(self._handle, match, len(match)))

    def _go(self, cursor: str, since: int) -> tuple[bool, bool]:
        """Stand on the first unread line: whether there is one, and whether the one read last is gone."""
        dropped = False
        if cursor:
            self._check(self._sd.sd_journal_seek_cursor(self._handle, cursor.encode()))
            found = self._next()
            if found and self._check(self._sd.sd_journal_test_cursor(self._handle, cursor.encode())):
                found = self._next()
            elif found:
                dropped = True
            if not found or self._at() >= since:
                return found, dropped
        self._check(self._sd.sd_journal_seek_realtime_usec(self._handle, since))
        return self._next(), False

    def _next(self) -> bool:
        return bool(self._check(self._sd.sd_journal_next(self._handle)))

    def _at(self) -> int:
        value = c_uint64()
        self._check(self._sd.sd_journal_get_realtime_usec(self._handle, byref(value)))
        return value.value

    def _message(self) -> str:
        data, length = c_void_p(), c_size_t()
        if self._sd.sd_journal_get_data(self._handle, b"MESSAGE", byref(data), byref(length)) < 0:
            return ""
        return ctypes.string_at(data, length.value)[len("MESSAGE=") :].decode(errors="replace")

    def _cursor(self) -> str:
        text = c_void_p()
        self._check(self._sd.sd_journal_get_cursor(self._handle, byref(text)))
        try:
            return ctypes.string_at(text).decode()
        finally:
            self._free(text)

    @staticmethod
    def _check(code: int) -> int:
        if code < 0:
            raise JournalError(f"The games' journal cannot be read: {os.strerror(-code)}.")
        return code
