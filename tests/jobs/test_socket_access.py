"""Who may open a socket, and that it closes when the right to it is taken away."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone
from websockets.exceptions import InvalidStatus

from jobs import events, streams
from jobs.models import Job, Stream
from portal import services
from portal.models import ApiToken, User
from portal.tokens import create_token, revoke_token
from servers.models import Membership, Right, Server
from tests.conftest import PASSWORD
from tests.jobs.sockets import Socket, cookie, metric, token_of
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN = 2 + 1.5  # seconds: what is promised, and what a busy test machine may add


@pytest.fixture
def path(server: Server) -> str:
    streams.append(server.console_id, ["Server is up"])
    return f"/ws/streams/{server.console_id}/"


def code(web: str, path: str, user: User | None = None, **who) -> int:
    with Socket(web, path, user, **who) as socket:
        return socket.close_code()


def lets_in(web: str, path: str, user: User | None = None, **who) -> bool:
    with Socket(web, path, user, **who) as socket:
        return socket.receive()["type"] == "lines"


def assert_closed_soon(socket: Socket, expected: int) -> None:
    started = time.monotonic()
    assert socket.close_code() == expected
    assert time.monotonic() - started < WITHIN


def test_nobody_opens_a_socket_without_signing_in(web: str, path: str) -> None:
    for socket in (path, "/ws/events/"):
        assert code(web, socket) == 4401
        assert code(web, socket, session="forged") == 4401
        assert code(web, socket, token="l4m_forged") == 4401


def test_a_cookie_that_the_database_would_refuse_is_nobodys(web: str, path: str) -> None:
    """Credentials are looked up many at once: one such must not fail the others that ask at that moment."""
    assert code(web, path, session='"aaaaaaaaaaaaaaaa\\000"') == 4401


def test_the_owner_and_staff_see_a_console(web: str, path: str, alice: User, mod: User) -> None:
    assert lets_in(web, path, alice)
    assert lets_in(web, path, token=token_of(alice))
    assert lets_in(web, path, mod)


def test_a_stranger_sees_neither_console_nor_job(web: str, path: str, server: Server, charlie: User) -> None:
    job = Job.objects.create(
        kind="x", subject=server.topic, title="Start", node="local", stream=Stream.objects.create()
    )
    for socket in (path, f"/ws/streams/{job.stream_id}/"):
        assert code(web, socket, charlie) == 4404
        assert code(web, socket, token=token_of(charlie)) == 4404


def test_a_stranger_cannot_tell_a_console_that_is_there_from_one_that_is_not(web, path, server, charlie) -> None:
    said, pages = set(), set()
    token = token_of(charlie)
    for number in (server.console_id, 10**9):
        with Socket(web, f"/ws/streams/{number}/", token=token) as socket:
            said.add((socket.close_code(), socket.connection.protocol.close_rcvd.reason))
        for kind, where in (("session", f"/streams/{number}/lines/"), ("token", f"/api/v1/streams/{number}/lines")):
            client = Client(headers={"Authorization": f"Bearer {token}"} if kind == "token" else {})
            client.force_login(charlie)
            answer = client.get(where)
            pages.add((kind, answer.status_code, re.sub(rb"\w{32,}", b"", answer.content)))
    assert said == {(4404, "There is no such log.")}
    assert {status for _, status, _ in pages} == {404}
    assert len(pages) == 2


def test_a_member_sees_what_its_rights_say(web: str, path: str, server: Server, bob: User, share) -> None:
    job = Job.objects.create(
        kind="x", subject=server.topic, title="Start", node="local", stream=Stream.objects.create()
    )
    share(bob, Right.VIEW)
    assert code(web, path, bob) == 4404
    with Socket(web, f"/ws/streams/{job.stream_id}/", bob) as socket:
        assert socket.receive() == {"type": "state", "state": "queued"}
    Membership.objects.update(rights=[Right.VIEW, Right.CONSOLE])
    assert lets_in(web, path, bob)


def test_what_is_unknown_or_malformed_is_said_so(web: str, path: str, alice: User) -> None:
    assert code(web, "/ws/streams/999999/", alice) == 4404
    assert code(web, "/ws/streams/99999999999999999999/", alice) == 4404
    assert code(web, "/ws/elsewhere/", alice) == 4404
    for after in ("soon", "1.5", 2**63, -(2**63), 10**30):
        assert code(web, f"{path}?after={after}", alice) == 4400


@pytest.mark.parametrize("after", [2**63 - 1, 1 - 2**63])
def test_the_largest_numbers_harm_nobody_who_is_read_for_beside_them(
    web: str, path: str, server: Server, alice: User, after: int
) -> None:
    with Socket(web, f"{path}?after={after}", alice), Socket(web, path, alice) as socket:
        for number in range(2, 6):
            streams.append(server.console_id, ["x"])
            assert socket.lines(number)[-1][0] == number


def test_a_suspended_user_opens_no_socket(web: str, path: str, alice: User, mod: User) -> None:
    session, token = cookie(alice), token_of(alice)
    User.objects.filter(pk=alice.pk).update(suspended_at=timezone.now())
    for socket in (path, "/ws/events/"):
        assert code(web, socket, session=session) == 4401
        assert code(web, socket, token=token) == 4401


def test_a_foreign_page_cannot_use_the_visitors_cookie(web: str, path: str, alice: User) -> None:
    port = int(web.rpartition(":")[2])
    of_games = (
        f"http://127.0.0.1:{port + 1}",
        "http://127.0.0.1",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
    )
    for origin in ("https://evil.example", "null", None, *of_games):
        with pytest.raises(InvalidStatus) as refused:
            Socket(web, path, alice, origin=origin)
        assert refused.value.response.status_code == 403


def test_an_ended_or_expired_session_opens_nothing(web: str, path: str, alice: User) -> None:
    expired, changed = cookie(alice), cookie(alice)
    Session.objects.filter(session_key=expired).update(expire_date=timezone.now())
    assert code(web, path, session=expired) == 4401
    alice.set_password("another password")
    alice.save()
    assert code(web, path, session=changed) == 4401


def test_a_right_taken_away_closes_the_socket(web: str, path: str, server: Server, bob: User, share) -> None:
    membership = share(bob, Right.CONSOLE)
    with Socket(web, path, bob) as socket, Socket(web, "/ws/events/", bob) as hears:
        socket.receive()
        events.publish(server.topic)
        assert hears.receive() == {"type": "changed", "topic": server.topic}
        membership.delete()
        events.publish(f"access:{server.topic}", f"user:{bob.pk}")
        assert_closed_soon(socket, 4403)
        assert hears.receive() == {"type": "changed", "topic": f"user:{bob.pk}"}
        events.publish(server.topic)
        with pytest.raises(TimeoutError):
            hears.receive(timeout=1)


def test_suspension_closes_every_socket_of_that_user(
    web: str, path: str, alice: User, bob: User, mod: User, share
) -> None:
    share(bob, Right.CONSOLE)
    token = token_of(bob)
    sockets = [Socket(web, path, bob), Socket(web, "/ws/events/", bob), Socket(web, path, token=token)]
    with Socket(web, path, alice) as other:
        other.receive()
        sockets[0].receive()
        sockets[2].receive()
        services.suspend_user(by=mod, user=bob, reason="Rude")
        for socket in sockets:
            assert_closed_soon(socket, 4401)
        streams.append(Server.objects.get().console_id, ["still there"])
        assert other.lines(2) == [(2, "still there")]


def test_signing_out_closes_that_browser_only(web: str, path: str, alice: User) -> None:
    browser = Client()
    browser.login(username="alice", password=PASSWORD)
    session = browser.cookies[settings.SESSION_COOKIE_NAME].value
    with (
        Socket(web, path, session=session) as socket,
        Socket(web, "/ws/events/", session=session) as hears,
        Socket(web, path, alice) as elsewhere,
    ):
        socket.receive()
        elsewhere.receive()
        browser.post("/accounts/logout/")
        assert_closed_soon(socket, 4401)
        assert_closed_soon(hears, 4401)
        streams.append(Server.objects.get().console_id, ["still there"])
        assert elsewhere.lines(2) == [(2, "still there")]


def test_a_revoked_token_closes_its_sockets(web: str, path: str, alice: User) -> None:
    token, secret = create_token(user=alice, name="bot")
    with Socket(web, path, token=secret) as socket:
        socket.receive()
        assert ApiToken.objects.get(pk=token.pk).last_used_at
        revoke_token(token=token)
        events.publish(f"access:user:{alice.pk}")
        assert_closed_soon(socket, 4401)


def test_a_new_server_is_heard_of_at_once(web: str, alice: User, server: Server, bob: User, share) -> None:
    with Socket(web, "/ws/events/", bob) as socket:
        events.publish(f"user:{bob.pk}")
        assert socket.receive() == {"type": "changed", "topic": f"user:{bob.pk}"}
        share(bob, Right.VIEW)
        events.publish(f"user:{bob.pk}")
        told = {socket.receive()["topic"], socket.receive()["topic"]}
        assert told == {f"user:{bob.pk}", server.topic}


def test_a_topic_is_told_at_most_four_times_a_second_and_the_last_change_is_told(
    web: str, alice: User, server: Server
) -> None:
    with Socket(web, "/ws/events/", alice) as socket:
        started = time.monotonic()
        while time.monotonic() < started + 1:
            events.publish(server.topic)
            time.sleep(0.01)
        told = 0
        while True:
            try:
                socket.receive(timeout=0.8)
                told += 1
            except TimeoutError:
                break
        assert 2 <= told <= 6


def test_topics_of_others_are_not_heard(web: str, server: Server, charlie: User) -> None:
    with Socket(web, "/ws/events/", charlie) as socket:
        events.publish(f"user:{charlie.pk}")
        socket.receive()
        events.publish(server.topic, f"access:{server.topic}", f"user:{server.owner_id}")
        with pytest.raises(TimeoutError):
            socket.receive(timeout=1)


@contextmanager
def unanswered_checks(web: str) -> Iterator[None]:
    """The database refuses to say who anybody is, and the portal asked it twice at least. Pages are not asked for."""
    with connection.cursor() as db:
        db.execute("ALTER TABLE portal_user RENAME TO portal_user_away")
        try:
            until = metric(web, "left4me_access_checks_total") + 2
            yield
            wait_for(lambda: metric(web, "left4me_access_checks_total") >= until, what="two rounds that fail")
        finally:
            db.execute("ALTER TABLE portal_user_away RENAME TO portal_user")


def test_a_right_that_could_not_be_looked_up_is_looked_up_again(
    web: str, path: str, server: Server, bob: User, share
) -> None:
    """The listening connection stays: nothing else would have anybody asked about again, about topics not ever."""
    membership = share(bob, Right.CONSOLE)
    with Socket(web, path, bob) as loses, Socket(web, "/ws/events/", bob) as hears:
        loses.receive()
        with unanswered_checks(web):
            membership.delete()
            events.publish(f"access:{server.topic}")
        assert_closed_soon(loses, 4403)
        with unanswered_checks(web):
            share(bob, Right.VIEW)
            events.publish(f"user:{bob.pk}")
        assert hears.receive() == {"type": "changed", "topic": f"user:{bob.pk}"}
        assert hears.receive(timeout=WITHIN) == {"type": "changed", "topic": server.topic}
