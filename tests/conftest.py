"""The small cast of every test, and the fixtures that more than one app's tests use."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from xdist.scheduler import LoadScopeScheduling

from jobs.models import Stream
from portal.models import User
from servers.models import Blueprint, Membership, Node, Right, Server, ServerPort
from tests.generated import SEED, SOAK, cases
from tests.stack import Stack

PASSWORD = "correct horse battery"


class ByMachine(LoadScopeScheduling):
    """Gives all tests that boot the same Debian to one process: the machine is made once."""

    def _split_scope(self, nodeid: str) -> str:
        twelve = re.search("debian12|bookworm|fuse_driver|uninstallation", nodeid)
        return "debian12" if twelve else "debian13"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByMachine | None:
    return ByMachine(config, log) if config.option.markexpr in ("host", "soak and host") else None


def pytest_configure(config: pytest.Config) -> None:
    """A shell starts background jobs with SIGINT ignored, and so would the games be that it shall stop."""
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(SEED)
    hypothesis.settings.register_profile("generated", max_examples=cases(100, 2000), deadline=None)
    hypothesis.settings.load_profile("generated")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test that hypothesis generates cases for is of the soak, without a word in it."""
    for item in items:
        if hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("soak")


def pytest_report_header() -> str:
    """What to run a failure of a generated case again with."""
    return f"generated cases: seed {SEED}, {'all (soak)' if SOAK else 'a sample'}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """On CI a skipped test is a hole in the gate."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def fast_settings(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def alice(db: None) -> User:
    """Owns a server."""
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    """A member with some rights on Alice's server, once `share` gives them."""
    return User.objects.create_user("bob", password=PASSWORD)


@pytest.fixture
def charlie(db: None) -> User:
    """A stranger to Alice's server."""
    return User.objects.create_user("charlie", password=PASSWORD)


@pytest.fixture
def mod(db: None) -> User:
    """Moderates."""
    return User.objects.create_superuser("mod", password=PASSWORD)


@pytest.fixture
def node(db: None) -> Node:
    return Node.objects.get_or_create(slug=settings.NODE, defaults={"name": "Local"})[0]


@pytest.fixture
def blueprint(db: None) -> Blueprint:
    return Blueprint.objects.create(slug="practice", name="Practice", game="practice")


@pytest.fixture
def server(alice: User, node: Node, blueprint: Blueprint) -> Server:
    """Alice's stopped practice server."""
    made = Server.objects.create(
        name="alices-practice",
        owner=alice,
        node=node,
        blueprint=blueprint,
        game=blueprint.game,
        console=Stream.objects.create(),
    )
    ServerPort.objects.create(server=made, node=node, name="game", number=27015)
    return made


@pytest.fixture
def share(server: Server) -> Callable[..., Membership]:
    """`share(bob, Right.POWER)` gives Bob rights on Alice's server; the right to view comes with any."""

    def give(user: User, *rights: Right) -> Membership:
        return Membership.objects.create(server=server, user=user, rights=sorted({Right.VIEW, *rights}))

    return give


@pytest.fixture
def stack(transactional_db: None, tmp_path: Path) -> Iterator[Stack]:
    """The portal's processes, started by the test as it needs them."""
    with Stack(tmp_path) as made:
        yield made
