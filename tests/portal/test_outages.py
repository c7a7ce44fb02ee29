"""The web process while PostgreSQL hangs, is killed, and is back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest

from portal.postgres import Postgres
from tests.stack import BASE, Stack, wait_for

PAGES = ("/", "/accounts/login/", "/nothing/here")


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Any]:
    """A portal with a PostgreSQL of its own; `signal(number)` goes to all its processes."""
    postgres = Postgres(tmp_path / "postgres", durable=False)
    postgres.start()
    environment = {"DATABASE_URL": postgres.url, "LEFT4ME_VAR": str(tmp_path / "var")}
    try:
        for command in (["migrate", "--noinput", "-v0"], ["createcachetable"]):
            given: dict[str, Any] = {"env": os.environ | environment, "cwd": BASE, "check": True}
            subprocess.run([sys.executable, "manage.py", *command], **given)
        with Stack(tmp_path, **environment) as stack:
            url = stack.start_web()

            def ask(path: str, token: str = "") -> int:
                headers = {"Authorization": f"Bearer {token}"} if token else {"Cookie": f"sessionid={'a' * 32}"}
                with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
                    return client.get(path, headers=headers).status_code

            def send(number: int) -> None:
                assert postgres.process
                main = psutil.Process(postgres.process.pid)
                for process in [main, *main.children(recursive=True)]:
                    process.send_signal(number)

            log = tmp_path / "web.log"
            yield SimpleNamespace(ask=ask, signal=send, postgres=postgres, log=log.read_text)
            send(signal.SIGCONT)
    finally:
        postgres.stop()


def test_while_the_database_hangs_every_question_is_answered_and_then_all_is_well(outage: Any) -> None:
    assert outage.ask("/readyz") == 200
    outage.signal(signal.SIGSTOP)
    with ThreadPoolExecutor(40) as threads:
        ready = [threads.submit(outage.ask, "/readyz") for _ in range(10)]
        pages = [threads.submit(outage.ask, path) for path in PAGES * 5]
        assert [threads.submit(outage.ask, "/healthz").result(30) for _ in range(5)] == [200] * 5
        assert {answer.result(30) for answer in ready} == {503}
        assert {answer.result(110) for answer in pages} == {503}
    outage.signal(signal.SIGCONT)
    wait_for(lambda: outage.ask("/readyz") == 200 and outage.ask("/") == 302, seconds=60, what="the portal")


def test_without_a_database_pages_and_api_say_503_until_it_is_back(outage: Any) -> None:
    assert (outage.ask("/"), outage.ask("/readyz")) == (302, 200)
    assert outage.ask(f"/?{'a&' * 1001}") == 400
    outage.signal(signal.SIGKILL)
    for _ in range(2):
        assert outage.ask("/healthz") == 200
        assert [outage.ask(path) for path in (*PAGES, "/readyz")] == [503] * 4
        assert outage.ask("/api/v1/servers", token="l4m_" + "a" * 43) == 503
    assert "Traceback" not in outage.log()
    for failed in ("Service Unavailable: /", "Service Unavailable: /accounts/login/", "for GET /api/v1/servers"):
        assert outage.log().count(f"{failed}: ") == 2  # a line of each, which says why
    outage.postgres.process.wait()
    outage.postgres.start()
    wait_for(lambda: outage.ask("/readyz") == 200 and outage.ask("/") == 302, seconds=60, what="the portal")
