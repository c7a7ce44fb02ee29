"""What the log has of requests that anybody can make fail."""

import logging

import pytest
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from psycopg import errors
from psycopg_pool import PoolTimeout

from portal.log_refusals import OneLine


def logged(error: Exception) -> str:
    """As a request that fails with it is logged."""
    record = logging.LogRecord("django.request", logging.ERROR, "", 0, "%s: %s", ("Gone", "/%d"), None)
    try:
        raise error
    except Exception as raised:
        record.exc_info = (type(raised), raised, raised.__traceback__)
    assert OneLine().filter(record)
    return logging.Formatter().format(record)


def by(cause: Exception, kind: type[Exception] = OperationalError) -> Exception:
    error = kind(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        by(PoolTimeout("couldn't get\n a connection")),
        by(errors.InterfaceError("couldn't get a connection"), InterfaceError),
    ],
)
def test_a_request_that_found_no_database_is_one_line(error: Exception) -> None:
    assert logged(error) == "Gone: /%d: couldn't get a connection"


def test_a_refusal_is_one_line() -> None:
    assert logged(DisallowedHost("which the message tells")) == "Gone: /%d"


@pytest.mark.parametrize("error", [ValueError("wrong"), by(errors.DeadlockDetected("wrong"))])
def test_what_may_be_a_fault_of_ours_keeps_its_traceback(error: Exception) -> None:
    assert "Traceback" in logged(error)
    assert logged(error).splitlines()[0] == "Gone: /%d"
