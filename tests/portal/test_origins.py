"""From which pages the portal is used: its own alone, and not those of games at other ports of the same host."""

import base64
import re
import socket
from pathlib import Path

import pytest

from portal.models import User
from tests.jobs.sockets import cookie
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


def test_over_https_pages_and_sockets_are_for_the_exact_origin_and_its_own_cookies(
    stack: Stack, alice: User, tmp_path: Path
) -> None:
    """Behind a proxy, as installed: `__Host-` cookies are used, and another port or plain HTTP is foreign."""
    stack.environment |= {"LEFT4ME_HTTPS": "1", "LEFT4ME_HOSTS": "play.example"}
    stack.start("web", "--unix", str(tmp_path / "web.sock"))
    wait_for((tmp_path / "web.sock").exists, seconds=30, what="the socket")
    session = cookie(alice)

    def asked(method: str, path: str, *lines: str) -> bytes:
        head = [f"{method} {path} HTTP/1.1", "Host: play.example", "X-Forwarded-Proto: https", "Content-Length: 0"]
        with socket.socket(socket.AF_UNIX) as browser:
            browser.settimeout(30)
            browser.connect(str(tmp_path / "web.sock"))
            browser.sendall("\r\n".join([*head, *lines, "", ""]).encode())
            return browser.recv(65536).partition(b"\r\n\r\n")[0]

    page = asked("GET", "/accounts/login/").decode()
    csrf = re.search(r"(?i)set-cookie: __Host-csrftoken=(\w+);.*Path=/.*Secure", page)
    assert csrf, page
    upgrade = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"
    upgrade = *upgrade, f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}"
    for origin, opens, posts in (
        ("https://play.example", b" 101 ", b" 302 "),
        ("http://play.example", b" 403 ", b" 403 "),
        ("https://play.example:27015", b" 403 ", b" 403 "),
        ("https://other.play.example", b" 403 ", b" 403 "),
    ):
        cookies = f"Cookie: __Host-sessionid={session}; __Host-csrftoken={csrf[1]}"
        given = cookies, f"Origin: {origin}"
        assert opens in asked("GET", "/ws/events/", *upgrade, *given), origin
        assert posts in asked("POST", "/accounts/logout/", f"X-CSRFToken: {csrf[1]}", *given), origin
        session = cookie(alice)
