"""Who gets into the HTTP API, how often, and what its refusals look like."""

from unittest.mock import Mock

import pytest
from django.core.cache import caches
from django.test import Client
from django.test.utils import override_script_prefix
from django.utils import timezone
from ninja.responses import Response

from portal import api, tokens
from portal.models import ApiToken, User
from tests.api import Api


@pytest.fixture(autouse=True)
def forget_counts() -> None:
    caches["process"].clear()


def test_a_token_says_whose_it_is(alice: User) -> None:
    assert Api(alice)("get", "/me").json() == {"username": "alice", "is_staff": False}


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer l4m_wrong", "Basic YTpi", "l4m_x", "Bearer é"])
def test_without_a_valid_token_nobody_gets_in(db: None, header: str) -> None:
    answer = Client(headers={"Authorization": header}).get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"].startswith("Send a token that is valid")


def test_a_session_does_not_open_the_api(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/api/v1/me").status_code == 401


def test_a_revoked_token_and_a_suspended_user_are_refused(alice: User) -> None:
    asks = Api(alice)
    User.objects.update(suspended_at=timezone.now())
    assert asks("get", "/me").status_code == 401
    User.objects.update(suspended_at=None)
    assert asks("get", "/me").status_code == 200
    tokens.revoke_token(token=ApiToken.objects.get())
    assert asks("get", "/me").status_code == 401


def test_an_address_that_is_not_there_is_a_problem_too(alice: User) -> None:
    assert Api(alice)("get", "/nothing/here").status_code == 404


def test_a_method_that_an_address_does_not_take_is_a_problem_too(alice: User) -> None:
    answer = Api(alice)("delete", "/servers")
    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Allow"] == "GET, POST"


def test_a_body_that_is_not_json_is_told(alice: User) -> None:
    asks = Api(alice)
    answer = asks("post", "/servers", "{")
    assert answer.status_code == 400


def test_a_body_that_is_too_large_is_told(alice: User) -> None:
    answer = Api(alice)("post", "/servers", {"name": "x" * 4_200_000, "blueprint": "practice"})
    assert answer.status_code == 413


def test_an_address_that_no_operation_has_is_told_as_a_problem(alice: User) -> None:
    asks = Api(alice)
    for path in ("/nowhere", "/servers/a/own-files/%0A"):
        assert asks("put", path, {}).status_code == 404


@pytest.mark.parametrize(("text", "status"), [("\x00", 400), ("\ud800", 400), ("x" * 10_000, 422)])
def test_text_that_no_database_holds_is_told(alice: User, text: str, status: int) -> None:
    asks = Api(alice)
    for body in ({"name": text, "blueprint": "b"}, {"name": "n", "blueprint": text}, {"settings": {text: text}}):
        assert asks("post", "/servers", {"name": "n", "blueprint": "b"} | body).status_code == status
    asked = asks("post", "/servers/none/members", {"username": text, "rights": ["view"]})
    assert asked.status_code in (404, status)


def test_what_does_not_fit_is_told_by_field(alice: User) -> None:
    answer = Api(alice)("post", "/servers", {"name": 5, "settings": []})
    assert answer.status_code == 422
    assert set(answer.json()["errors"]) == {"name", "blueprint", "settings"}


def test_a_user_who_asks_too_often_is_told_when_to_go_on(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    (limit,) = api.api.throttle
    monkeypatch.setattr(limit, "most", 3)
    asks = Api(alice)
    codes = [asks("get", "/me").status_code for _ in range(7)]
    # However the turn of a minute splits seven requests, four of them share one.
    assert 429 in codes
    refused = asks("get", "/me")
    if refused.status_code == 429:
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert Api(bob)("get", "/me").status_code == 200


def test_how_long_to_wait_is_told_in_whole_seconds(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    (limit,) = api.api.throttle
    monkeypatch.setattr(limit, "most", 0)
    monkeypatch.setattr(api, "time", Mock(time=lambda: 6_000_000_050.559928))
    refused = Api(alice)("get", "/me")
    assert refused.json()["detail"] == "Too many requests. Wait 10 s, then go on more slowly."
    assert refused.headers["Retry-After"] == "10"


def test_the_description_is_open_to_read(client: Client, db: None) -> None:
    description = client.get("/api/v1/openapi.json").json()
    assert description["components"]["securitySchemes"]["TokenAuth"]["scheme"] == "bearer"
    assert {tag["name"] for tag in description["tags"]} == set(api.TAGS)
    for where, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (where, method)
            assert operation["tags"][0] in api.TAGS
            assert {"401", "422", "429"} <= set(operation["responses"])


def test_the_description_is_made_once_and_sent_only_to_who_does_not_have_it(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = api.Api.get_openapi_schema
    monkeypatch.setattr(api.Api, "get_openapi_schema", lambda *a, **options: made.append(1) or make(*a, **options))
    api.described.cache_clear()
    with override_script_prefix("/elsewhere"):  # which anybody may claim in a header that daphne believes
        first = client.get("/api/v1/openapi.json")
    answers = [first, *(client.get("/api/v1/openapi.json") for _ in range(20))]
    etag = first.headers["ETag"]
    unchanged = client.get("/api/v1/openapi.json", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert client.get("/api/v1/openapi.json", headers={"If-None-Match": '"other"'}).status_code == 200
    assert len(made) == 1
    assert first.content == Response(make(api.api)).content
    for answer in answers:
        assert answer.content == first.content
        assert answer.headers["Content-Type"] == "application/json"
        assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (etag, "public, max-age=300")


def test_the_documentation_loads_nothing_from_elsewhere(client: Client, db: None) -> None:
    page = client.get("/api/v1/docs").content.decode()
    assert "swagger" in page
    assert "://" not in page.replace("http://www.w3.org", "")
