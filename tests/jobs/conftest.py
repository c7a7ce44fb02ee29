"""One web process for the tests of a module; the tests' data comes and goes under it."""

from collections.abc import Iterator

import pytest

from tests.engine.clusters import clusters  # noqa: F401
from tests.jobs.sockets import METRICS
from tests.stack import Stack


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    with django_db_blocker.unblock(), Stack(tmp_path_factory.mktemp("web"), **METRICS) as stack:
        yield stack.start_web()
