"""The shipped settings of nginx: what reaches the portal through it, and what its log keeps."""

import re
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from portal.admission import FORM_BYTES, PIECE_BYTES
from portal.models import User
from portal.services import create_invitation
from servers.services.uploads import new_key
from tests.load.proxy import TEMPORARY, find_nginx
from tests.portal.test_web import answers
from tests.stack import BASE, Stack, free_port, wait_for

UPLOAD = f"/uploads/{new_key(7)}/"
pytestmark = pytest.mark.django_db(transaction=True)


def without_tls(text: str, socket: Path, log: Path, port: int) -> str:
    """The first server of deploy/etc/nginx.conf, on plain HTTP here."""
    text = re.sub(r"listen 443.*", f"listen 127.0.0.1:{port};", text[: text.index("server {\n    listen 80;")])
    text = re.sub(r"\n *(listen \[::\]|http2|ssl_).*", "", text)
    return text.replace("/run/left4me/web.sock", str(socket)).replace("/var/log/nginx/access.log", str(log))


@pytest.fixture
def proxied(stack: Stack, tmp_path: Path) -> Iterator[int]:
    """The port where nginx serves the portal."""
    if not (binary := find_nginx()):
        pytest.skip("nginx is missing: apt-get install nginx-light")
    socket, port, config = tmp_path / "web.sock", free_port(), tmp_path / "nginx.conf"
    stack.start("web", "--unix", str(socket))
    wait_for(lambda: answers(socket), seconds=30, what="an answer on the unix socket")
    site = without_tls((BASE / "deploy/etc/nginx.conf").read_text(), socket, tmp_path / "access.log", port)
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


def status(port: int, method: str, path: str, size: int = 0, **headers: str) -> int:
    connection = HTTPConnection("localhost", port, timeout=30)
    try:
        connection.request(method, path, body=b"x" * size if size else None, headers=headers)
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


def test_only_pieces_of_uploads_pass_as_large_bodies(proxied: int) -> None:
    assert status(proxied, "POST", "/healthz", FORM_BYTES) == 403
    assert status(proxied, "POST", "/healthz", FORM_BYTES + 1) == 413
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
