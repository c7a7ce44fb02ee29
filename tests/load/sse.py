"""The same live log as server-sent events from a threaded WSGI server, as the portal's ancestor did it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
import django

django.setup()

from jobs import streams  # noqa: E402

EVERY = 0.1  # seconds


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """`/ws/streams/{id}/?after=SEQ`, and any other path as a page."""
    parts = environ["PATH_INFO"].strip("/").split("/")
    if parts[0] != "ws":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
        return iter([b"ok\n"])
    after = int(parse_qs(environ["QUERY_STRING"])["after"][0])
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return events(int(parts[2]), after)


def events(stream: int, after: int) -> Iterator[bytes]:
    yield b'data: {"lines":[]}\n\n'
    while True:
        if lines := streams.read(stream, after=after, limit=1000):
            after = lines[-1][0]
            yield b"data: " + json.dumps({"lines": lines}).encode() + b"\n\n"
        time.sleep(EVERY)
