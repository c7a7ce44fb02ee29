"""Fixtures of the host tests: one pristine Debian 13 and one Debian 12 a session."""

import os
from collections.abc import Iterator

import pytest

from tests.deploy.host import Host, locked, why_not
from tests.deploy.installed import Installed


def require_host() -> None:
    """Skip where no host can be booted; in CI that is a failure, since these tests are the proof of deploy/."""
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(f"The host tests must run here: {reason}.")
        pytest.skip(reason)


def pristine(suite: str) -> Iterator[Host]:
    require_host()
    with Host(suite) as host:
        # From the root's own apt cache: what the probes need, no portal.
        host.sh(
            "apt-get install -y --no-install-recommends fuse3 fuse-overlayfs polkitd acl"
            " && echo user_allow_other >> /etc/fuse.conf",
            timeout=600,
        )
        yield host


@pytest.fixture(scope="session")
def trixie() -> Iterator[Host]:
    """Debian 13, systemd 257."""
    yield from pristine("trixie")


@pytest.fixture(scope="session")
def bookworm() -> Iterator[Host]:
    """Debian 12, systemd 252."""
    yield from pristine("bookworm")


def installed_on(host: Host) -> Iterator[Installed]:
    portal = Installed(host)
    portal.give_games_other_ports()
    with locked("installation"):  # each takes the first free port for its PostgreSQL
        said = portal.install()
    assert portal.password, said
    portal.sign_in()
    yield portal
    portal.keep_packages()


@pytest.fixture(scope="session")
def portal(trixie: Host) -> Iterator[Installed]:
    """left4me, installed on Debian 13 by its installer."""
    yield from installed_on(trixie)


@pytest.fixture(scope="session")
def portal12(bookworm: Host) -> Iterator[Installed]:
    """The same on Debian 12."""
    yield from installed_on(bookworm)
