"""Keeps the log short while the database is away: every request fails then, and a traceback of each tells no more."""

import logging

from django.db import InterfaceError, OperationalError


class OneLine(logging.Filter):
    """For the logger of requests that failed; changes the record.

    What the database itself refuses, which has a code (SQLSTATE), keeps its traceback: that may be a fault of ours.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None):
            record.msg, record.args = f"{record.getMessage()}: {' '.join(str(error).split())}", ()
            record.exc_info = record.exc_text = None
        return True
