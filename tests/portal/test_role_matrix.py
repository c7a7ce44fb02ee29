"""Every address and every operation, tried by every role: who may, who is refused how, and that a refusal tells and
changes nothing. The table is `tests/portal/matrix.py`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, get_resolver, resolve

from portal.api import api
from tests.portal.matrix import ADMIN, API, API_ROLES, MAY, PAGES, ROLES, STAFF, Row, api_refusal, refusal
from tests.portal.scene import MARKS, Scene, build

WRITES = re.compile(r'\s*(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')
# Of who asks: a session, a limit, when a token was last used.
OWN_AFFAIRS = {"django_session", "portal_cache", "portal_apitoken"}
FOR_OTHERS = {"readyz", "metrics"}  # for the machine; portal/test_health.py tries them
PREFIX = "/api/v1"


@pytest.fixture
def scene(db: None, settings, tmp_path: Path) -> Scene:
    settings.STATE_DIR = tmp_path
    cache.clear()
    return build()


def routes() -> set[str]:
    """Every route of the site but the operations of the API, which are below."""

    def walk(patterns: list[Any], before: str) -> Iterator[str]:
        for one in patterns:
            if isinstance(one, URLPattern):
                if one.callback.__module__ != "ninja.operation":
                    yield (before + str(one.pattern)).replace("^", "")
            else:
                yield from walk(one.url_patterns, before + str(one.pattern))

    return set(walk(get_resolver().url_patterns, ""))


def operations() -> set[tuple[str, str]]:
    described = api.get_openapi_schema()["paths"]
    return {(method.upper(), re.sub(r"{\w+}", "{}", path)) for path, known in described.items() for method in known}


def test_every_route_has_a_row(scene: Scene) -> None:
    named = {resolve(_address(row, scene).partition("?")[0]).route.replace("^", "") for row in (*PAGES, *ADMIN)}
    described = {f"{PREFIX}{path}".lstrip("/") for _, path in operations()}
    missing = {route for route in routes() - named - FOR_OTHERS if re.sub(r"<[^>]+>", "{}", route) not in described}
    assert not missing, f"no row in tests/portal/matrix.py: {sorted(missing)}"


def test_every_operation_has_a_row(scene: Scene) -> None:
    tried = set()
    for row in API:
        path = resolve(PREFIX + _address(row, scene).partition("?")[0]).route
        tried.add((row.method, f"/{re.sub(r'<[^>]+>', '{}', path)}"))
    assert tried == operations()


@pytest.mark.parametrize("role", ROLES)
def test_pages_answer_each_role_as_the_table_says(scene: Scene, role: str) -> None:
    problems = [_try(row, role, scene, scene.browser(role), refusal(row.may, role)) for row in PAGES]
    told = 403 if role in STAFF else 302
    _nothing(problems + [_try(row, role, scene, scene.browser(role), told) for row in ADMIN])


@pytest.mark.parametrize("role", API_ROLES)
def test_the_api_answers_each_role_as_the_table_says(scene: Scene, role: str) -> None:
    caches["process"].clear()
    _nothing([_try(row, role, scene, scene.program(role), api_refusal(row.may, role), prefix=PREFIX) for row in API])


def test_the_size_of_the_matrix(scene: Scene, record_property) -> None:
    """Shown by `-s`: so many cases the tests above try."""
    rows = len(PAGES) + len(ADMIN)
    size = {
        "routes": len(routes()), "operations": len(operations()), "roles": len(ROLES),
        "cases": rows * len(ROLES) + len(API) * len(API_ROLES),
    }  # fmt: skip
    print("role matrix:", size)
    for name, number in size.items():
        record_property(name, number)
    assert size["cases"] > 3000


def _address(row: Row, scene: Scene) -> str:
    return row.address.format(**scene.named)


def _nothing(problems: list[list[str]]) -> None:
    assert not [one for row in problems for one in row]


def _try(row: Row, role: str, scene: Scene, client: Client, told: int, *, prefix: str = "") -> list[str]:
    """What is wrong with the answer: its status, what it wrote though it refused, or whose things it shows."""
    may, address = role in MAY[row.may], prefix + _address(row, scene)
    with writes() as written:
        answer = _send(row, address, client, scene)
    problems = []
    if answer.status_code != (expected := row.status if may else told):
        problems.append(f"answered {answer.status_code}, not {expected}")
    if not may and (changed := set(written) - OWN_AFFAIRS):
        problems.append(f"refused, but wrote {changed}")
    body, asked = b"" if answer.streaming else answer.content, address + row.sent.format(**scene.named)
    shown = [mark for mark, eyes in MARKS.items() if mark.encode() in body and role not in eyes]
    problems += [f"shows {mark}" for mark in shown if mark not in asked]
    return [f"{row.method} {row.address} as {role}: {problem}" for problem in problems]


def _send(row: Row, address: str, client: Client, scene: Scene) -> HttpResponse:
    sent = row.sent.format(**scene.named)
    kind = "application/json" if sent.startswith("{") or "/uploads/" in address else "application/x-www-form-urlencoded"
    with transaction.atomic():
        answer = client.generic(row.method, address, sent.encode(), content_type=kind)
        transaction.set_rollback(True)
    return answer  # type: ignore[no-any-return]


@contextmanager
def writes() -> Iterator[list[str]]:
    """Collects the tables that are written meanwhile."""
    written: list[str] = []

    def note(execute: Any, sql: Any, *rest: Any) -> Any:
        if isinstance(sql, str) and (match := WRITES.match(sql)):
            written.append(match[1])
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield written
