"""The shipped settings of nginx and Caddy: what reaches the portal through them, and what their logs keep."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from django.conf import settings

from portal.admission import FORM_BYTES, PIECE_BYTES
from portal.models import User
from portal.services import create_invitation
from servers.services.uploads import new_key
from tests.load.proxy import TEMPORARY, find_nginx
from tests.portal.test_web import answers
from tests.stack import BASE, Stack, free_port, wait_for

UPLOAD = f"/uploads/{new_key(7)}/"
AT_ONCE = 40  # of one address, instead of what is shipped
pytestmark = pytest.mark.django_db(transaction=True)


def without_tls(text: str, web: Path, logs: Path, port: int) -> str:
    """The first server of deploy/etc/nginx.conf, on plain HTTP here."""
    text = re.sub(r"listen 443.*", f"listen 127.0.0.1:{port};", text[: text.index("server {\n    listen 80;")])
    text = re.sub(r"\n *(listen \[::\]|http2|ssl_).*", "", text)
    text = re.sub(r"limit_conn left4me \d+;", f"limit_conn left4me {AT_ONCE};", text)
    return text.replace("/run/left4me/web.sock", str(web)).replace("/var/log/nginx", str(logs))


@pytest.fixture
def proxied(stack: Stack, tmp_path: Path) -> Iterator[int]:
    """The port where nginx serves the portal."""
    if not (binary := find_nginx()):
        pytest.skip("nginx is missing: apt-get install nginx-light")
    web, port, config = tmp_path / "web.sock", free_port(), tmp_path / "nginx.conf"
    stack.start("web", "--unix", str(web))
    wait_for(lambda: answers(web), seconds=30, what="an answer on the unix socket")
    site = without_tls((BASE / "deploy/etc/nginx.conf").read_text(), web, tmp_path, port)
    temporary = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in TEMPORARY)
    config.write_text(
        f"user root; daemon off; master_process off; pid {tmp_path}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ {temporary}\n{site}\n}}\n"
    )
    process = subprocess.Popen([binary, "-c", str(config), "-p", str(tmp_path), "-e", "stderr"])
    try:
        wait_for(lambda: process.poll() is None and status(port, "GET", "/healthz") == 200, what="nginx")
        yield port
    finally:
        process.kill()
        process.wait()


def status(port: int, method: str, path: str, size: int = 0, source: str = "127.0.0.1", **headers: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))
    try:
        connection.request(method, path, body=b"x" * size if size else None, headers=headers)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


def test_only_pieces_of_uploads_pass_as_large_bodies(proxied: int) -> None:
    session = {"Cookie": f"{settings.SESSION_COOKIE_NAME}=a"}
    assert status(proxied, "POST", "/healthz", FORM_BYTES, **session) == 403
    assert status(proxied, "POST", "/healthz", FORM_BYTES + 1, **session) == 413
    assert status(proxied, "PUT", f"{UPLOAD}?offset=0", PIECE_BYTES) == 403
    assert status(proxied, "PUT", f"{UPLOAD}?offset=0", 10 << 20) == 413


def test_the_log_keeps_no_invitation_and_no_search(proxied: int, tmp_path: Path, mod: User) -> None:
    _, secret = create_invitation(by=mod, note="", days=7)
    page = f"/invitations/{secret}/"
    assert status(proxied, "GET", page) == 200
    assert status(proxied, "GET", f"/{page}") == 404
    assert status(proxied, "GET", "/healthz?q=sesame", Referer=f"http://localhost{page}") == 200
    log = (tmp_path / "access.log").read_text()
    assert log.count("/invitations/-/") == 2
    assert secret not in log
    assert "sesame" not in log


def test_what_nginx_tells_of_errors_keeps_no_invitation(proxied: int, stack: Stack, tmp_path: Path, mod: User) -> None:
    _, secret = create_invitation(by=mod, note="", days=7)
    page = f"/invitations/{secret}/"
    connection = HTTPConnection("127.0.0.1", proxied, timeout=30)
    connection.request("GET", page)
    answer = connection.getresponse()
    assert answer.headers["Referrer-Policy"] == "strict-origin", "so other requests of the page do not name it"
    connection.close()
    stack.stop("web")
    assert {status(proxied, "GET", path) for path in (page, f"/{page}", f"{page}?a=b", "/healthz")} == {502}
    told = (tmp_path / "error.log").read_text()
    assert "/healthz" in told
    assert secret not in told


def test_an_address_that_has_all_it_may_keeps_nobody_else_out(proxied: int) -> None:
    with contextlib.ExitStack() as until_the_end:
        for _ in range(AT_ONCE):
            one = until_the_end.enter_context(socket.create_connection(("127.0.0.1", proxied), 30, ("127.0.0.2", 0)))
            one.sendall(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        wait_for(lambda: status(proxied, "GET", "/healthz", source="127.0.0.2") == 429, what="an end to what it may")
        assert status(proxied, "GET", "/healthz", source="127.0.0.3") == 200
        assert status(proxied, "PUT", f"{UPLOAD}?offset=0", PIECE_BYTES, source="127.0.0.3") == 403
    wait_for(lambda: status(proxied, "GET", "/healthz", source="127.0.0.2") == 200, what="room again")


def test_what_caddy_tells_of_errors_keeps_no_invitation(tmp_path: Path) -> None:
    """There is no web process, so all it lets pass is 502 and told."""
    if not (binary := shutil.which("caddy")):
        pytest.skip("caddy is missing: apt-get install caddy")
    port, log, config = free_port(), tmp_path / "log", tmp_path / "Caddyfile"
    text = (BASE / "deploy/etc/Caddyfile").read_text().replace("@SITE@", f"http://localhost:{port}")
    text = text.replace("/run/left4me/web.sock", f"{tmp_path}/web.sock").replace("lb_try_duration 15s", "")
    config.write_text(text)
    home = os.environ | {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [binary, "run", "--config", str(config), "--adapter", "caddyfile"], stderr=out, env=home
        )
    page = "/invitations/sesame-open/"
    try:
        wait_for(lambda: status(port, "GET", page, Host=f"localhost:{port}") == 502, what="Caddy")
        sent = {"Host": f"localhost:{port}", "Referer": f"http://localhost{page}"}
        assert {status(port, "GET", path, **sent) for path in (f"/{page}", f"{page}?a=b", "/healthz")} == {502}
    finally:
        process.kill()
        process.wait()
    told = log.read_text()
    assert told.count("/invitations/-/") >= 3
    assert "sesame" not in told
