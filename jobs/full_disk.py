"""A full disk, whoever notices it: the kernel, a quota, or PostgreSQL. Needs nothing: small programs use it too."""

import errno

SENTENCE = (
    "The disk is full. Nothing that was there is lost: delete what is not needed or ask an admin to make room, "
    "then try again."
)
ERRORS = (errno.ENOSPC, errno.EDQUOT)
SQLSTATE = "53100"  # disk_full
SAID = "No space left on device"  # by PostgreSQL as it refuses a connection, which has no code


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is what led to `error`."""
    for _ in range(20):  # a chain may be a ring
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in ERRORS:
            return True
        if getattr(error, "sqlstate", None) == SQLSTATE:
            return True
        if type(error).__module__.startswith("psycopg") and SAID in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
