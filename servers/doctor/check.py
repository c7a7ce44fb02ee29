"""One finding of the doctor, and the identity of the portal for asking as it."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings
from django.db import connection

PORTAL_USER = "left4me"


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """`name` says what was looked at, `detail` what was found and, unless all is well, what to do."""

    name: str
    state: State
    detail: str


def verdict(name: str, wrong: list[str], fine: str, *, state: State = State.FAIL) -> Check:
    """OK with `fine`, or `state` with everything that is wrong."""
    return Check(name, state, " ".join(wrong)) if wrong else Check(name, State.OK, fine)


def is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def as_portal(*groups: int) -> Iterator[None]:
    """Be the portal's user for a while, when this is root, with these groups besides its own."""
    if not is_root() or settings.RUNTIME != "systemd":
        yield
        return
    connection.close()  # PostgreSQL knows its peer by user
    user, before = pwd.getpwnam(PORTAL_USER), os.getgroups()
    os.setgroups([user.pw_gid, *groups])
    os.setresgid(user.pw_gid, user.pw_gid, 0)
    os.setresuid(user.pw_uid, user.pw_uid, 0)  # the saved one is the way back
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(before)
