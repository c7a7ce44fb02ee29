"""Whatever is sent as a field of a form, a query, a path or a body: no answer of 500, and nothing logged as an error.

Which fields there are is not written down here: a page is asked once and what it reads is noted; for the API its
description tells. The gate sends a few of the 200 hostile values to each, `make soak` a quarter: another by each of
four seeds.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from django.core.cache import cache, caches
from django.db import transaction
from django.http import QueryDict
from django.urls import resolve
from django.utils.datastructures import MultiValueDict

from portal.api import api
from tests.generated import SEED, SOAK, cases, dice
from tests.portal.hostile import COUNT, texts, values
from tests.portal.matrix import ADMIN, API, MAY, PAGES, Row
from tests.portal.scene import Scene, build

pytestmark = pytest.mark.soak
SEEDS = 4  # of the soak, which together send every value to every field
EACH = cases(2, COUNT // SEEDS)  # hostile values for each field
SHARDS = 8
LONGEST_ADDRESS = 8000
FINE = {503, 504}  # no room just now, no answer from the game: said with a sentence
AT_THE_DOOR = ("everybody", "visitor", "newcomer", "signing-in")  # whose rows are tried by nobody in particular
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
PREFIX = "/api/v1"


@dataclass(frozen=True)
class Field:
    """One place of one row that takes a value: where is “path”, “query”, “form” or “json”."""

    row: Row
    where: str
    name: str


@pytest.fixture
def scene(db: None, settings, tmp_path: Path) -> Scene:
    settings.STATE_DIR = tmp_path
    return build()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Names that are read from queries and forms, noted as it happens: for telling which fields a page has."""
    seen: dict[str, set[str]] = {"names": set()}

    def noting(method: str) -> Any:
        original = getattr(MultiValueDict, method)

        def inner(self: MultiValueDict, key: str, *rest: Any, **named: Any) -> Any:
            if isinstance(self, QueryDict):
                seen["names"].add(key)
            return original(self, key, *rest, **named)

        return inner

    for method in ("__getitem__", "get", "getlist", "__contains__"):
        monkeypatch.setattr(MultiValueDict, method, noting(method), raising=False)
    return seen


def fields_of_pages(scene: Scene, seen: dict[str, set[str]]) -> Iterator[Field]:
    for row in (*PAGES, *ADMIN):
        seen["names"] = set()
        _send(scene, row, row.address.format(**scene.named), row.sent.format(**scene.named))
        where = "form" if row.method == "POST" else "query"
        for name in sorted(seen["names"] - {"csrfmiddlewaretoken"}):
            yield Field(row, where, name)
        yield from (Field(row, "path", name) for name in re.findall(r"{(\w+)}", row.address.partition("?")[0]))


def fields_of_the_api(scene: Scene) -> Iterator[Field]:
    described = api.get_openapi_schema()
    for row in API:
        yield from (Field(row, "path", name) for name in re.findall(r"{(\w+)}", row.address.partition("?")[0]))
        route = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", resolve(_path(row, scene)).route)
        operation = described["paths"][route][row.method.lower()]
        for one in operation.get("parameters", []):
            if one["in"] == "query":
                yield Field(row, "query", one["name"])
        if body := operation.get("requestBody"):
            name = body["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
            yield from (Field(row, "json", key) for key in described["components"]["schemas"][name]["properties"])


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_value_of_any_field_breaks_anything(scene: Scene, read, caplog, shard: int) -> None:
    caplog.set_level(logging.ERROR)
    fields = [*fields_of_pages(scene, read), *fields_of_the_api(scene)]
    broken, tried = [], 0
    for field in fields[shard::SHARDS]:
        for value in _chosen(field):
            caplog.clear()
            status = _with(scene, field, value)
            tried += 1
            if (status >= 500 and status not in FINE) or _errors(caplog):
                row = field.row
                broken.append(f"{row.method} {row.address} {field.where} {field.name}={value!r:.80}: {status}")
    forms = {field.row for field in fields if field.where == "form"}
    size = {"forms": len(forms), "fields": len(fields), "operations": len(API), "cases": len(fields) * EACH}
    print(f"hostile input: {size}, of which here {tried}")
    assert not broken
    assert tried == len(fields[shard::SHARDS]) * EACH


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as one; what Django refuses with 400 it notes as a matter of security, which is none."""
    return [record.getMessage() for record in caplog.records if not record.name.startswith("django.security")]


def _chosen(field: Field) -> list[Any]:
    known = values() if field.where == "json" else texts()
    if SOAK:
        return known[SEED % SEEDS :: SEEDS]
    return dice(field.row.method, field.row.address, field.where, field.name).sample(known, EACH)


def _with(scene: Scene, field: Field, value: Any) -> int:
    """The status of the row's answer with that value in place of the field's own."""
    row = field.row
    address, sent = row.address, row.sent.format(**scene.named)
    named = scene.named | ({field.name: _quoted(value)} if field.where == "path" else {})
    address = address.format(**named)
    if field.where == "query":
        path = urlsplit(address)
        address = f"{path.path}?{_form(dict(parse_qsl(path.query)) | {field.name: value})[:LONGEST_ADDRESS]}"
    elif field.where == "form":
        sent = _form(dict(parse_qsl(sent)) | {field.name: value})
    elif field.where == "json":
        sent = json.dumps(json.loads(sent) | {field.name: value})
    return _send(scene, row, address, sent)


def _quoted(value: str) -> str:
    return quote(value.encode(errors="surrogatepass")[: LONGEST_ADDRESS // 3], safe="")


def _form(given: dict[str, str]) -> str:
    return urlencode({name: value.encode(errors="surrogatepass") for name, value in given.items()})


def _path(row: Row, scene: Scene) -> str:
    return PREFIX + row.address.format(**scene.named).partition("?")[0]


def _send(scene: Scene, row: Row, address: str, sent: str) -> int:
    is_api = row in API
    role = (MAY[row.may] or ("owner",))[0 if row.may in AT_THE_DOOR else -1]
    client = scene.program(role) if is_api else scene.browser(role)
    client.raise_request_exception = False
    with transaction.atomic():
        cache.clear()
        caches["process"].clear()
        kind = JSON if is_api or "/uploads/" in address else FORM
        answer = client.generic(row.method, PREFIX * is_api + address, sent.encode(), content_type=kind)
        transaction.set_rollback(True)
    return answer.status_code
