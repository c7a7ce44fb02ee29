"""Any log as a text file: complete, for who may see it, and in bounded memory."""

import asyncio
import select
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import sleep
from unittest.mock import Mock
from urllib.request import Request, urlopen

import httpx
import pytest
from django.db import connections
from django.test import AsyncClient, Client

from jobs import downloads, streams
from jobs.models import Line, Stream
from jobs.policy import Asked, Verdict
from portal.models import User
from portal.throttle import Throttle
from servers.models import Right, Server
from tests.jobs.sockets import cookie
from tests.jobs.test_feed_faults import resident
from tests.jobs.test_search_places import nothing_is_found, under_way
from tests.stack import Stack, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_connection_is_left_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def url(server: Server) -> str:
    return f"/streams/{server.console_id}.txt"


def of(stream: int, credential: str = "") -> downloads.Download:
    return downloads.Download(0, Asked(credential, stream))


async def fetch(url: str, user: User | None) -> tuple[int, str]:
    client = AsyncClient()
    if user:
        await client.aforce_login(user)
    answer = await client.get(url)
    text = b"".join([part async for part in answer.streaming_content]) if answer.streaming else b""
    return answer.status_code, text.decode()


async def test_a_log_is_downloaded_line_by_line_with_its_times(url: str, server: Server, alice: User) -> None:
    at = datetime(2026, 1, 31, 20, 15, 0, 250_000, UTC)
    await downloads.database_sync_to_async(streams.append)(server.console_id, ["Hello", "☃ <b>"], at=at)
    status, text = await fetch(url, alice)
    assert (status, text) == (200, "2026-01-31T20:15:00.250Z Hello\n2026-01-31T20:15:00.250Z ☃ <b>\n")


def test_it_is_sent_as_a_file_of_plain_text(url: str, alice: User, client: Client) -> None:
    client.force_login(alice)
    answer = client.head(url)
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"].startswith("attachment")


async def test_strangers_and_visitors_get_no_log(url: str, charlie: User) -> None:
    assert (await fetch(url, charlie))[0] == 404
    assert (await fetch(url, None))[0] == 302
    assert (await fetch("/streams/999999.txt", charlie))[0] == 404


async def test_lines_that_retention_takes_meanwhile_are_said_to_be_gone(server: Server) -> None:
    stream = server.console_id

    def trim() -> None:
        streams.append(stream, [str(number) for number in range(1, 3001)])
        Stream.objects.filter(pk=stream).update(keep=500)

    await downloads.database_sync_to_async(trim)()
    parts = downloads.text_lines(of(stream), 1, 3000)
    assert (await anext(parts)).endswith(" 1000\n")
    await downloads.database_sync_to_async(streams.trim)()
    assert await anext(parts) == "(lines 1001 to 2500 are no longer kept)\n"
    assert (await anext(parts)).endswith(" 3000\n")


async def test_a_log_that_is_deleted_meanwhile_does_not_look_complete(server: Server) -> None:
    stream = server.console_id
    await downloads.database_sync_to_async(streams.append)(stream, ["x"] * 1001)
    parts = downloads.text_lines(of(stream), 1, 1001)
    await anext(parts)
    await downloads.database_sync_to_async(Line.objects.filter(stream=stream).delete)()
    assert [part async for part in parts] == ["(lines 1001 to 1001 are no longer kept)\n"]


async def test_long_lines_are_sent_in_small_pieces(server: Server) -> None:
    await downloads.database_sync_to_async(streams.append)(server.console_id, ["☃" * streams.MAX_LINE] * 100)
    parts = [part async for part in downloads.text_lines(of(server.console_id), 1, 100)]
    assert sum(part.count("\n") for part in parts) == 100
    assert max(len(part.encode()) for part in parts) < downloads.BATCH_BYTES + 4 * streams.MAX_LINE


async def test_reading_ends_with_the_right_to_read(
    server: Server, bob: User, share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ASK_SECONDS", 0)
    database = downloads.database_sync_to_async
    await database(streams.append)(server.console_id, ["x"] * 5000)
    membership = await database(share)(bob, Right.CONSOLE)
    parts = downloads.text_lines(of(server.console_id, f"session:{await database(cookie)(bob)}"), 1, 5000)
    assert (await anext(parts)).endswith(" x\n")
    assert (await anext(parts)).endswith(" x\n")
    await database(membership.delete)()
    await asyncio.sleep(0.5)
    assert [part async for part in parts] == ["(you may no longer read this log)\n"]


def test_a_client_that_reads_nothing_is_cut_off_with_the_right_to_read(
    stack: Stack, url: str, server: Server, bob: User, share
) -> None:
    membership = share(bob, Right.CONSOLE)
    streams.append(server.console_id, ["x" * 1000] * 10_000)
    stack.start_web()
    with socket.create_connection(("127.0.0.1", stack.port)) as slow:
        slow.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={cookie(bob)}\r\n\r\n".encode())
        assert slow.recv(15).startswith(b"HTTP/1.1 200")
        membership.delete()
        with select.epoll() as ends:  # nothing is read, so nothing else than the end is waited for
            ends.register(slow, select.EPOLLERR | select.EPOLLHUP)
            assert ends.poll(30), "longer than the client would have been given anyway"


def test_a_client_that_does_not_read_costs_neither_memory_nor_a_connection(
    stack: Stack, url: str, server: Server, alice: User
) -> None:
    stack.environment |= {"LEFT4ME_DB_POOL": "1"}
    base = stack.start_web()
    for _ in range(50):
        streams.append(server.console_id, ["x" * 1000] * 1000)
    session = cookie(alice)
    request = Request(f"{base}{url}", headers={"Cookie": f"sessionid={session}"})

    def download_all() -> None:
        with urlopen(request, timeout=60) as answer:
            assert answer.read().count(b"\n") == 50_000

    for _ in range(3):  # what the process keeps for itself from its first downloads is not what is asked here
        download_all()
    before = resident(stack.processes["web"].pid)
    with socket.create_connection(("127.0.0.1", stack.port)) as slow:
        slow.sendall(f"GET {url} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={session}\r\n\r\n".encode())
        assert slow.recv(15).startswith(b"HTTP/1.1 200")
        download_all()
        grown = resident(stack.processes["web"].pid) - before
        assert grown < 12 * 1024 * 1024, "a quarter of the log, for two downloads at once"


def browser(web: str, user: User) -> httpx.Client:
    return httpx.Client(base_url=web, cookies={"sessionid": cookie(user)}, timeout=30)


def test_however_many_download_they_take_two_connections_and_no_pages_turn(
    web: str, url: str, server: Server, bob: User
) -> None:
    streams.append(server.console_id, ["x"] * 10)
    many = 20  # more than there are connections
    staff = [User.objects.create_superuser(f"mod{number}", password="x") for number in range(many)]
    browsers = [browser(web, user) for user in staff]
    with ThreadPoolExecutor(many) as threads, browser(web, bob) as page:
        with nothing_is_found():
            logs = [threads.submit(one.get, url) for one in browsers]
            wait_for(lambda: under_way() == 2, what="two that read")
            for _ in range(10):
                assert page.get("/").status_code == 200
                assert under_way() == 2
        assert [log.result().text.count("\n") for log in logs] == [10] * many


def test_a_member_downloads_few_logs_at_once(web: str, url: str, server: Server, alice: User) -> None:
    streams.append(server.console_id, ["x"] * 10)
    many = 5 * downloads.AT_ONCE
    browsers = [browser(web, alice) for _ in range(many)]
    with ThreadPoolExecutor(many) as threads:
        with nothing_is_found():
            logs = [threads.submit(one.get, url) for one in browsers]
            wait_for(lambda: sum(log.done() for log in logs) == many - downloads.AT_ONCE, what="the others refused")
        answers = [log.result() for log in logs]
    whole = [answer for answer in answers if answer.text.count(" x\n") == 10]
    refused = [answer for answer in answers if (answer.status_code, answer.text) == (429, downloads.TOO_MANY)]
    assert (len(whole), len(refused)) == (downloads.AT_ONCE, many - downloads.AT_ONCE)
    assert not any("Content-Disposition" in answer.headers for answer in refused), "nobody saves it as the log"
    assert browser(web, alice).get(url).text.count(" x\n") == 10, "there is a place again"


def test_clients_that_go_meanwhile_leave_no_error_and_their_places(
    stack: Stack, url: str, server: Server, alice: User
) -> None:
    for _ in range(20):
        streams.append(server.console_id, ["x" * 1000] * 1000)
    web = stack.start_web()
    request = f"GET {url} HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={cookie(alice)}\r\n\r\n".encode()
    for patience in (0, 0.01, 0.05, 0.1, 0.2, 0.5):
        for _ in range(downloads.AT_ONCE):
            with socket.create_connection(("127.0.0.1", stack.port)) as client:
                client.sendall(request)
                if patience:
                    assert client.recv(15).startswith((b"HTTP/1.1 200", b"HTTP/1.1 429"))
                    sleep(patience)
    with browser(web, alice) as one:
        wait_for(lambda: one.get(url).text.count("x\n") == 20_000, what="a place again")
    log = (stack.folder / "web.log").read_text()
    assert "Exception inside application" not in log
    assert "Traceback" not in log


async def test_a_client_that_is_gone_ends_what_is_made_for_it_also_in_the_same_turn() -> None:
    throttle = Throttle(Mock())
    throttle.pauseProducing()
    waiting = asyncio.create_task(throttle.ready())
    await asyncio.sleep(0)
    throttle.stopProducing()  # Twisted tells of the end,
    waiting.cancel()  # and so does Django, which heard of it as well
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_who_may_still_read_is_asked_for_all_downloads_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Collection[Asked]] = []

    async def ask(questions: Collection[Asked]) -> dict[Asked, Verdict]:
        asked.append(questions)
        return {question: Verdict(0) for question in questions}

    monkeypatch.setattr(downloads, "ask", ask)
    monkeypatch.setattr(downloads, "ASK_SECONDS", 0.05)
    await downloads.database_sync_to_async(streams.append)(server.console_id, ["x"] * 5000)
    question = [Asked(f"session:{user_id}", server.console_id) for user_id in range(20)]
    logs = [
        downloads.text_lines(downloads.Download(user_id, question[user_id]), 1, 5000) for user_id in 2 * [*range(20)]
    ]
    for log in logs:
        await anext(log)  # and its client reads no further
    asked.clear()
    await asyncio.sleep(0.5)
    assert 1 <= len(asked) <= 11, "in rounds"
    assert all(set(round_) == set(question) for round_ in asked), "of each once, whatever they have under way"
    for log in logs:
        await log.aclose()
