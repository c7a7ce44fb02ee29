"""A client of the portal's websockets, as a browser (session cookie and Origin) or a program (bearer token)."""

import json
import time
from collections.abc import Iterator
from typing import Any, Self
from urllib.request import Request, urlopen

from django.conf import settings
from django.test import Client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from portal.models import User
from portal.tokens import create_token

METRICS = {"LEFT4ME_METRICS_TOKEN": "tests"}


def cookie(user: User) -> str:
    """The session cookie of a newly signed-in browser of `user`."""
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Socket:
    """One open socket of a page of `url`. Give `user` (signs in), `session` (a cookie's value), `token`, or nothing."""

    def __init__(
        self, url: str, path: str, user: User | None = None, *, session: str = "", token: str = "",
        origin: str | None = "", **options: Any,
    ) -> None:  # fmt: skip
        if user:
            session = cookie(user)
        headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session}"} if session else {}
        if token:
            headers, origin = {"Authorization": f"Bearer {token}"}, None
        origin = url if origin == "" else origin
        self.connection: ClientConnection = connect(
            f"{url.replace('http', 'ws', 1)}{path}", additional_headers=headers, origin=origin, compression=None,
            max_size=None, proxy=None, legacy=True, **options,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def receive(self, timeout: float = 15) -> dict[str, Any]:
        return json.loads(self.connection.recv(timeout))

    def messages(self, timeout: float = 15) -> Iterator[dict[str, Any]]:
        """Messages until the socket is closed."""
        while True:
            try:
                yield self.receive(timeout)
            except ConnectionClosed:
                return

    def lines(self, until: int, timeout: float = 30) -> list[tuple[int, str]]:
        """Lines up to number `until`, as (seq, text); other messages are passed over."""
        got: list[tuple[int, str]] = []
        limit = time.monotonic() + timeout
        while not got or got[-1][0] < until:
            message = self.receive(max(0.1, limit - time.monotonic()))
            if message["type"] == "lines":
                got += [(seq, text) for seq, _, text in message["lines"]]
        return got

    def close_code(self, timeout: float = 15) -> int:
        """The code the server closes with; messages before are passed over."""
        for _ in self.messages(timeout):
            pass
        assert self.connection.protocol.close_rcvd, "the server went away without a close frame"
        return self.connection.protocol.close_rcvd.code


def token_of(user: User) -> str:
    return create_token(user=user, name=f"test {time.monotonic_ns()}")[1]


def metric(url: str, name: str) -> float:
    """One figure of `/metrics` of a web process started with `METRICS`."""
    request = Request(f"{url}/metrics", headers={"Authorization": "Bearer tests"})
    for line in urlopen(request, timeout=10).read().decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"There is no metric {name}.")
