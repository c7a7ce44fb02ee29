"""Keeps short what our own log has of requests that anybody can make fail: a traceback of each would tell no more."""

import logging

from django.core.exceptions import SuspiciousOperation
from django.db import InterfaceError, OperationalError


class OneLine(logging.Filter):
    """For handlers; changes the record.

    It is for what found no database, and for refusals such as that of another host's name or of too many fields. What
    the database itself refuses, which has a code (SQLSTATE), keeps its traceback: that may be a fault of ours.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None):
            record.msg, record.args = f"{record.getMessage()}: {' '.join(str(error).split())}", ()
        elif not isinstance(error, SuspiciousOperation):
            return True
        record.exc_info = record.exc_text = None
        return True
