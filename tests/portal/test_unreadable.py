"""Requests with something in them that no database could hold are refused with a sentence, never by breaking."""

import json

import pytest
from django.conf import settings
from django.test import Client

from jobs import strict_json
from portal.models import User
from servers.models import Layer, Server
from tests.api import Api

PAGES = ["/?page=%00", "/layers/a%00/", "/nowhere%00/", "/servers/x/changes/file/?path=a%00", "/servers/x/%00"]


@pytest.mark.parametrize("path", PAGES)
def test_a_nul_in_an_address_is_refused_whoever_asks(client: Client, alice: User, path: str) -> None:
    for _ in range(2):
        answer = client.get(path)
        assert answer.status_code == 400
        assert b"That was not understood" in answer.content
        client.force_login(alice)


@pytest.mark.parametrize("name", [settings.SESSION_COOKIE_NAME, "anything"])
def test_a_nul_in_a_cookie_is_refused(client: Client, db: None, name: str) -> None:
    for path in ("/", "/nowhere/", "/accounts/login/"):
        assert client.get(path, headers={"Cookie": f'{name}="a\\000b"'}).status_code == 400


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/layers/a/rebuild/", {"upload_key": "\0"}),
        ("/servers/alices-practice/layers/add/", {"layer": "\0"}),
        ("/servers/alices-practice/layers/fill/", {"layer": "a", "slot": "\0"}),
        ("/servers/alices-practice/layers/drop/", {"slot": "\0"}),
        ("/new-server/", {"blueprint": "\0"}),
        ("/invitations/secret/", {"username": "nul\0"}),
        ("/servers/alices-practice/people/", {"username": "a", "\0": "x"}),
        ("/admin/servers/server/", {"action": "stop", "_selected_action": "\0"}),
    ],
)
def test_a_nul_in_a_form_is_refused(client: Client, server: Server, mod: User, path: str, form: dict[str, str]) -> None:
    Layer.objects.create(slug="a", name="A", game="practice", kind="archive", owner=mod)
    client.force_login(mod)
    assert client.post(path, form).status_code == 400


BODIES = {
    b'{"username": "a\\u0000", "rights": ["view"]}': "NUL",
    b'{"username": "\\ud800", "rights": ["view"]}': "half a character",
    b'{"username": "a", "username": "b", "rights": ["view"]}': "twice",
    b'{"username": "\xff", "rights": ["view"]}': "UTF-8",
    '{"username": "a"}'.encode("utf-16"): "UTF-8",
    b'{"username": NaN}': "beyond all bounds",
    b'{"username": 1e999}': "beyond all bounds",
    b'{"username": ' + b"9" * 10_000 + b"}": "valid JSON",
    b"[" * 100_000: "deeply",
    b"{": "valid JSON",
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_a_body_that_cannot_be_read_is_told_why(server: Server, alice: User, body: bytes) -> None:
    answer = Api(alice)("post", "/servers/alices-practice/members", body)
    assert answer.status_code == 400
    assert BODIES[body] in answer.json()["detail"]


def test_a_nul_in_an_address_of_the_api_is_a_problem(server: Server, alice: User) -> None:
    asks = Api(alice)
    for path in ("/servers/a%00", "/servers?cursor=%00", "/servers/alices-practice/own-files/a%00"):
        assert "NUL" in asks("get", path).json()["detail"]


def test_json_that_is_sound_is_read_as_it_is() -> None:
    value = {"a": [1, -2.5, "ü😀\\u0000", None, True, {"b": {}}], "": ""}
    assert strict_json.loads(json.dumps(value).encode()) == value
