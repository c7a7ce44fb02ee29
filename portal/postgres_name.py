"""The name by which PostgreSQL knows the user that starts it, who may be a number without one.

initdb and the `peer` rule ask the system for that name. A uid without a passwd entry, as in a container that was
started with `--user 12345`, gets one that only the server sees.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from portal.postgres_place import PostgresError

WRAPPERS = ("/usr/lib/*/libnss_wrapper.so", "/usr/lib*/libnss_wrapper.so")
KNOWN = ("daemon", "bin", "mail", "games")  # not nobody: a user namespace shows all users that it does not map as that


@dataclass(frozen=True)
class Name:
    """Our user's name in the server's eyes, and what its programs are started with so that they see it."""

    name: str
    prefix: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def our_name(folder: Path) -> Name:
    """`folder`: one of the server's own, for the files that libnss_wrapper reads. Raises `PostgresError`."""
    try:
        return Name(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        found = _by_library(folder) or _by_namespace()
    if not found:
        raise PostgresError(
            f"PostgreSQL needs a name for its user, and uid {os.geteuid()} has no entry in /etc/passwd. Install what"
            " gives it one: sudo apt-get install libnss-wrapper. Or make a user: sudo useradd --uid"
            f" {os.geteuid()} left4me. Or set DATABASE_URL to a server of yours."
        )
    return found


def _by_library(folder: Path) -> Name | None:
    libraries = [path for pattern in WRAPPERS for path in Path("/").glob(pattern[1:])]
    if not libraries:
        return None
    passwd, group = folder / "passwd", folder / "group"
    passwd.write_text(f"left4me:x:{os.geteuid()}:{os.getegid()}:left4me:/nonexistent:/bin/false\n")
    group.write_text(f"left4me:x:{os.getegid()}:\n")
    files = {"NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}
    return Name("left4me", environment={"LD_PRELOAD": str(libraries[0])} | files)


def _by_namespace() -> Name | None:
    """A user namespace in which we are a user that has a name. Its files stay ours."""
    for name in KNOWN:
        try:
            user = pwd.getpwnam(name)
            prefix = ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]
            if subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False).returncode == 0:
                return Name(name, prefix)
        except (KeyError, OSError):
            continue
    return None
