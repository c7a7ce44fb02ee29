"""Bounded HTTP for what members name: a few redirects, a few tries, never more bytes than were announced."""

import http.client
import json
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ATTEMPTS, WAIT, TIMEOUT = 4, 0.5, 30.0  # tries; seconds before the second, doubled each time; seconds without a byte
REDIRECTS, MOST_JSON, CHUNK = 3, 16 << 20, 256 << 10
# Not every `OSError`: a full disk is none of the network's.
NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
PASSING = {408, 425, 429, 500, 502, 503, 504}


class FetchError(Exception):
    """The text is the end of a sentence: “it … ”."""


class Stopped(Exception):
    """Somebody cancelled."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_web(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_Redirects)


def _require_web(url: str) -> None:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise FetchError("has an address that is not on the web")


def post_form(url: str, form: Mapping[str, str]) -> Any:
    """The JSON that a POST of `form` is answered with. Raises `FetchError`."""

    def ask() -> Any:
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode(), method="POST")  # noqa: S310
        with _opener.open(request, timeout=TIMEOUT) as answer:
            text = answer.read(MOST_JSON + 1)
        if len(text) > MOST_JSON:
            raise FetchError("answered with too much")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FetchError("did not answer as its documentation says") from error

    _require_web(url)
    return _again(ask, threading.Event())


def download(url: str, into: Path, *, size: int, stop: threading.Event, got: Callable[[int], None]) -> None:
    """Write exactly `size` bytes to `into`; `got` is told of each piece, with minus what is thrown away.

    Raises `FetchError`, `Stopped`.
    """

    def attempt() -> None:
        count = 0
        try:
            with _opener.open(url, timeout=TIMEOUT) as answer, into.open("wb") as file:
                while chunk := answer.read(min(CHUNK, size - count + 1)):
                    count += len(chunk)
                    if count > size:
                        raise FetchError(f"is larger than the {size} bytes it should have")
                    file.write(chunk)
                    got(len(chunk))
                    if stop.is_set():
                        raise Stopped
            if count < size:
                raise http.client.IncompleteRead(b"", size - count)
        except BaseException:
            got(-count)
            raise

    _require_web(url)
    _again(attempt, stop)


def _again(action: Callable[[], Any], stop: threading.Event) -> Any:
    """Try a few times what fails in passing."""
    for number in range(ATTEMPTS):
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in PASSING:
                raise FetchError(f"was refused with status {error.code}") from error
            last = f"was answered with status {error.code}"
        except NETWORK as error:
            last = f"could not be had ({type(error).__name__})"
        if stop.wait(WAIT * 2**number):
            raise Stopped
    raise FetchError(f"{last}, {ATTEMPTS} times in a row")
