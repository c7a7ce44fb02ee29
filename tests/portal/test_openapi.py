"""The API keeps to its own description: schemathesis makes requests from it and checks every answer."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from portal.models import User
from portal.tokens import create_token
from servers import services
from servers.models import Layer, Membership, Right, Server
from tests.generated import SOAK, cases

pytestmark = pytest.mark.soak

schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())


@pytest.fixture(autouse=True)
def kept_connection(db: None) -> Iterator[None]:
    """As in Django's own test client, requests do not close the connection that the test's transaction is on."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(alice: User) -> str:
    return create_token(user=alice, name="tests")[1]


@pytest.fixture
def there(server: Server, bob: User, share: Callable[..., Membership]) -> dict[str, object]:
    """Path parameters that lead somewhere."""
    share(bob, Right.POWER)
    job = services.start_server(by=server.owner, server=server)
    layer = Layer.objects.create(slug="motd", name="Motd", game="practice", kind="files", owner=server.owner)
    path = services.write_own_file(by=server.owner, server=server, path="motd.txt", text="Hello", was=None).path
    there = {"name": server.name, "slug": layer.slug, "username": bob.username, "id": job.pk, "number": 3}
    return there | {"path": path}


def check(case: schemathesis.Case, token: str, *but: Any) -> None:
    """Call and check, in a transaction that is rolled back so that examples do not build on one another."""
    caches["process"].clear()
    with transaction.atomic():
        # The description cannot say all that services check, such as a game's settings.
        excluded = [positive_data_acceptance, *but]
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=excluded)
        transaction.set_rollback(True)


few = settings(max_examples=cases(10, 25), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@schema.parametrize()
@few
def test_whatever_is_asked_the_answer_is_as_described(case: schemathesis.Case, token: str) -> None:
    # So many cases also make up parameters that no path has. Those are passed over, not refused.
    check(case, token, *[negative_data_rejection] * SOAK)


@schema.include(path_regex="{").parametrize()
@few
def test_so_is_the_answer_about_what_is_there(case: schemathesis.Case, token: str, there: dict[str, object]) -> None:
    case.path_parameters = {key: there[key] for key in case.path_parameters}
    check(case, token, negative_data_rejection)  # what it made wrong may be the parameters that were just filled in
