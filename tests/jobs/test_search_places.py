"""Searching a log takes from the others neither the database connections of the process nor their turn."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import httpx
import pytest
from django.db import connection, transaction

from jobs import searches, streams
from jobs.models import Line
from portal.models import User
from servers.models import Server
from tests.jobs.sockets import cookie
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 20  # more than there are connections
Answers = list[Future[httpx.Response]]


class Member:
    """A browser of `user`, which searches the server's console."""

    def __init__(self, web: str, user: User, server: Server) -> None:
        self.http = httpx.Client(
            base_url=web, cookies={"sessionid": cookie(user)}, timeout=30, limits=httpx.Limits(max_connections=None)
        )
        self.path = f"/streams/{server.console_id}/search/"
        self.numbers = count()

    def search(self) -> httpx.Response:
        return self.http.get(self.path, params={"q": f"line {next(self.numbers)}"})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * MANY) as executor:
        yield executor


@contextmanager
def nothing_is_found() -> Iterator[None]:
    """Every search waits for as long as this lasts (or until its own limit of 5 s)."""
    with transaction.atomic(), connection.cursor() as db:
        db.execute(f"LOCK TABLE {Line._meta.db_table} IN ACCESS EXCLUSIVE MODE")
        yield


def under_way() -> int:
    with connection.cursor() as db:
        db.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction the answer stays the same otherwise
        db.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%jobs_line%'")
        return db.fetchone()[0]


def problems(answers: Answers) -> list[str]:
    return [answer.result().json().get("problem", "") for answer in answers if answer.done()]


def test_of_one_members_searches_one_is_made_and_the_newest_is_next(
    web: str, server: Server, alice: User, bob: User, threads: ThreadPoolExecutor
) -> None:
    streams.append(server.console_id, [f"line {number}" for number in range(MANY + 1)])
    member, other = Member(web, alice, server), Member(web, bob, server)
    with nothing_is_found():
        first = threads.submit(member.search)
        wait_for(lambda: under_way() == 1, what="the first search")
        others = [threads.submit(member.search) for _ in range(MANY)]
        wait_for(lambda: len(problems(others)) == MANY - 1, what="an answer to all but the newest", seconds=4)
        assert under_way() == 1
        assert other.http.get("/").status_code == 200
    assert first.result().json()["seqs"]
    told = [answer.result().json().get("problem", "") for answer in others]
    assert sorted(told) == ["", *["A newer search of yours took its place."] * (MANY - 1)]


def test_members_who_search_at_once_wait_for_a_place(
    web: str, server: Server, mod: User, threads: ThreadPoolExecutor
) -> None:
    streams.append(server.console_id, ["line 0"])
    staff = [User.objects.create_superuser(f"mod{number}", password="x") for number in range(searches.AT_ONCE + 5)]
    members = [Member(web, user, server) for user in staff]
    page = Member(web, mod, server).http
    with nothing_is_found():
        answers = [threads.submit(member.search) for member in members]
        wait_for(lambda: under_way() == searches.AT_ONCE, what="as many searches as there are places")
        assert page.get("/").status_code == 200
        assert under_way() == searches.AT_ONCE
    assert [answer.result().json() for answer in answers] == [{"seqs": [1], "more": False}] * len(staff)


def test_who_waits_for_a_place_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "WAIT_SECONDS", 0.05)
    places, done = searches.Places(), threading.Event()

    def hold(user_id: int) -> None:
        with places.take(user_id):
            done.wait(10)

    holders = [threading.Thread(target=hold, args=[user_id]) for user_id in range(searches.AT_ONCE)]
    for holder in holders:
        holder.start()
    wait_for(lambda: len(places._searching) == searches.AT_ONCE, what="all places taken")
    with pytest.raises(searches.Refused, match="Too many members"), places.take(99):
        pass
    done.set()
    for holder in holders:
        holder.join()
    with places.take(99):
        assert places._newest == {}
    assert places._searching == set()
