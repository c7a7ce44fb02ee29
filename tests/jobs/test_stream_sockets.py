"""What a viewer of a stream gets: every line once and in order, gaps said, the end of a job."""

import contextlib
import threading

import pytest
from django.db import connection
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from jobs import events, streams
from jobs.models import Job, Stream
from portal.models import User
from servers.models import Server
from tests.generated import cases, dice
from tests.jobs.sockets import Socket, metric, token_of
from tests.stack import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def console(server: Server) -> int:
    return server.console_id


def path(stream: int, after: int = 0) -> str:
    return f"/ws/streams/{stream}/?after={after}"


def numbered(first: int, last: int) -> list[tuple[int, str]]:
    return [(number, f"line {number}") for number in range(first, last + 1)]


def append(stream: int, first: int, last: int) -> None:
    streams.append(stream, [text for _, text in numbered(first, last)])


def test_old_lines_come_first_and_new_ones_follow(web: str, alice: User, console: int) -> None:
    append(console, 1, 1200)
    with Socket(web, path(console), alice) as socket:
        assert socket.lines(1200) == numbered(1, 1200)
        append(console, 1201, 1203)
        assert socket.lines(1203) == numbered(1201, 1203)


def test_a_line_is_its_number_its_time_and_its_text(web: str, alice: User, console: int) -> None:
    before = int(timezone.now().timestamp() * 1000) - 1
    streams.append(console, streams.clean('<b>"quoted" \\ \t tab, é ☃ 😀</b>'))
    with Socket(web, path(console), alice) as socket:
        message = socket.receive()
    assert message["type"] == "lines"
    ((seq, at, text),) = message["lines"]
    assert (seq, text) == (1, '<b>"quoted" \\ \t tab, é ☃ 😀</b>')
    assert before <= at <= timezone.now().timestamp() * 1000


def test_a_viewer_resumes_from_its_number(web: str, alice: User, console: int) -> None:
    append(console, 1, 20)
    with Socket(web, path(console, 15), alice) as socket:
        assert socket.lines(20) == numbered(16, 20)


def test_a_viewer_may_ask_for_the_newest_lines(web: str, alice: User, console: int) -> None:
    append(console, 1, 700)
    with Socket(web, path(console, -10), alice) as socket:
        assert socket.lines(700) == numbered(691, 700)
    with Socket(web, path(console, -1000), alice) as socket:
        assert socket.lines(700) == numbered(1, 700)


def test_lines_that_retention_took_are_said_to_be_gone(web: str, alice: User, console: int) -> None:
    append(console, 1, 100)
    Stream.objects.filter(pk=console).update(keep=40)
    streams.trim()
    with Socket(web, path(console, 10), alice) as socket:
        assert socket.receive() == {"type": "gap", "from": 11, "to": 60}
        assert socket.lines(100) == numbered(61, 100)
    with Socket(web, path(console, -1000), alice) as socket:
        assert socket.lines(100) == numbered(61, 100)


def make_job(alice: User, state: str, **fields) -> Job:
    return Job.objects.create(
        kind="x", subject="installation:local:practice", title="Install", node="local", state=state,
        stream=Stream.objects.create(), started_at=timezone.now(), **fields,
    )  # fmt: skip


def test_a_job_tells_its_state_and_ends_after_its_last_line(web: str, alice: User) -> None:
    job = make_job(alice, "running")
    append(job.stream_id, 1, 600)
    with Socket(web, path(job.stream_id), alice) as socket:
        assert socket.lines(600) == numbered(1, 600)
        append(job.stream_id, 601, 601)
        Job.objects.filter(pk=job.pk).update(state="succeeded", finished_at=timezone.now())
        events.publish(job.subject)
        rest = list(socket.messages())
        assert [message["type"] for message in rest if message["type"] != "state"] == ["lines", "end"]
        assert rest[-1] == {"type": "end", "state": "succeeded"}
        assert socket.close_code() == 1000


def test_a_finished_job_is_replayed_and_ended(web: str, alice: User) -> None:
    job = make_job(alice, "failed", finished_at=timezone.now())
    append(job.stream_id, 1, 1300)
    with Socket(web, path(job.stream_id), alice) as socket:
        got = list(socket.messages())
        assert sum(len(message.get("lines", [])) for message in got) == 1300
        assert got[-1] == {"type": "end", "state": "failed"}
        assert socket.close_code() == 1000


def test_a_change_of_state_is_told_without_a_line(web: str, alice: User) -> None:
    job = make_job(alice, "queued")
    with Socket(web, path(job.stream_id), alice) as socket:
        assert socket.receive() == {"type": "state", "state": "queued"}
        Job.objects.filter(pk=job.pk).update(state="running")
        events.publish(job.subject)
        assert socket.receive() == {"type": "state", "state": "running"}


def test_a_stream_that_is_deleted_closes_as_unknown(web: str, alice: User) -> None:
    job = make_job(alice, "running")
    with Socket(web, path(job.stream_id), alice) as socket:
        socket.receive()
        job.delete()
        Stream.objects.filter(pk=job.stream_id).delete()
        events.publish(job.subject)
        assert socket.close_code() == 4404


def test_hostile_long_lines_come_in_bounded_frames(web: str, alice: User, console: int) -> None:
    long = "☃" * streams.MAX_LINE
    streams.append(console, [long] * 300)
    got, largest = 0, 0
    with Socket(web, path(console), alice) as socket:
        while got < 300:
            raw = socket.connection.recv(10)
            largest = max(largest, len(raw.encode()))
            got += raw.count(long)
    assert largest < 600_000


@pytest.mark.soak
def test_nothing_is_lost_or_doubled_over_many_reconnections(web: str, alice: User, console: int) -> None:
    total, reconnections = cases(20_000, 100_000), cases(10, 50)
    token = token_of(alice)
    chance = dice("reconnections")

    def write() -> None:
        written = 0
        while written < total:
            size = min(chance.randint(1, 500), total - written)
            append(console, written + 1, written + size)
            written += size
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[tuple[int, str]] = []
    breaks = sorted(chance.sample(range(1, total), reconnections))
    while len(seen) < total:
        with Socket(web, path(console, len(seen)), token=token) as socket:
            while len(seen) < total:
                message = socket.receive()
                seen += [(seq, text) for seq, _, text in message["lines"]]
                if breaks and len(seen) >= breaks[0]:
                    breaks.pop(0)
                    break
    writer.join()
    assert not breaks
    assert seen == numbered(1, total)


def test_many_viewers_cost_no_more_queries_than_one(web: str, alice: User, console: int) -> None:
    token = token_of(alice)

    def reads_for(viewers: int) -> float:
        first = Stream.objects.get(pk=console).last_seq + 1
        sockets = [Socket(web, path(console, first - 1), token=token) for _ in range(viewers)]
        append(console, first, first)
        for socket in sockets:  # so that what was read as they came is counted already
            assert socket.lines(first) == numbered(first, first)
        before = metric(web, "left4me_feed_reads_total")
        for number in range(first + 1, first + 21):
            append(console, number, number)
            assert sockets[0].lines(number) == numbered(number, number)
        for socket in sockets:
            assert viewers == 1 or socket is sockets[0] or socket.lines(first + 20) == numbered(first + 1, first + 20)
            socket.connection.close()
        return metric(web, "left4me_feed_reads_total") - before

    assert reads_for(1) >= 20
    assert reads_for(90) <= 60


def test_a_client_that_floods_is_cut_off_alone(web: str, alice: User, console: int) -> None:
    with Socket(web, path(console), alice) as good, Socket(web, path(console), alice) as bad:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100_000):
                bad.connection.send("spam")
        assert bad.close_code() == 4429
        with Socket(web, path(console), alice) as large:
            large.connection.send("x" * 5000)
            assert large.close_code() == 1009
        append(console, 1, 1)
        assert good.lines(1) == numbered(1, 1)


def test_sockets_of_one_user_are_bounded(web: str, alice: User, console: int) -> None:
    token = token_of(alice)
    sockets = [Socket(web, path(console), token=token) for _ in range(100)]
    try:
        with Socket(web, path(console), token=token) as one_more:
            assert one_more.close_code() == 4429
        sockets.pop().connection.close()
        append(console, 1, 1)

        def lets_in() -> bool:
            with Socket(web, path(console), token=token) as socket:
                try:
                    return socket.receive()["type"] == "lines"
                except ConnectionClosed:
                    return False

        assert wait_for(lets_in, what="a place for one more socket")
    finally:
        for socket in sockets:
            socket.connection.close()
