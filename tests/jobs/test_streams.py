"""Streams: numbers without holes, lines that are safe to show, retention."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from jobs import streams
from jobs.models import Line, Stream


@pytest.fixture
def stream(db: None) -> Stream:
    return Stream.objects.create()


def texts(stream: Stream) -> list[str]:
    return [text for _, _, text in streams.read(stream.pk, after=0, limit=10_000)]


def test_lines_are_numbered_from_one_in_the_order_given(stream: Stream) -> None:
    assert streams.append(stream.pk, ["a", "b"]) == 2
    assert streams.append(stream.pk, ["c"]) == 3
    assert [(seq, text) for seq, _, text in streams.read(stream.pk, after=0, limit=10)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]
    assert [seq for seq, _, _ in streams.read(stream.pk, after=1, limit=1)] == [2]


def test_appending_is_one_query(stream: Stream, django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        streams.append(stream.pk, ["x"] * 500, cursor="500")


def test_the_cursor_is_saved_with_the_lines_and_kept_without_one(stream: Stream) -> None:
    streams.append(stream.pk, ["a"], cursor="byte 2")
    streams.append(stream.pk, ["b"])
    stream.refresh_from_db()
    assert (stream.cursor, stream.last_seq) == ("byte 2", 2)
    assert streams.append(stream.pk, [], cursor="byte 9") == 2
    stream.refresh_from_db()
    assert stream.cursor == "byte 9"


def test_each_line_can_have_its_own_time(stream: Stream) -> None:
    start = datetime(2026, 1, 2, tzinfo=UTC)
    streams.append(stream.pk, ["a", "b"], at=[start, start + timedelta(milliseconds=1500)])
    first, second = streams.read(stream.pk, after=0, limit=2)
    assert first[1] == int(start.timestamp() * 1000)
    assert second[1] - first[1] == 1500
    with pytest.raises(ValueError, match="one time"):
        streams.append(stream.pk, ["a", "b"], at=[start])


def test_a_stream_that_is_gone_is_an_error(db: None) -> None:
    with pytest.raises(Stream.DoesNotExist):
        streams.append(987_654, ["a"])


def test_lines_of_a_rolled_back_transaction_leave_no_hole(stream: Stream) -> None:
    with transaction.atomic():
        streams.append(stream.pk, ["never"])
        transaction.set_rollback(True)
    assert streams.append(stream.pk, ["first"]) == 1


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_leave_no_hole() -> None:
    stream = Stream.objects.create()

    def write(writer: int) -> None:
        for number in range(50):
            streams.append(stream.pk, [f"{writer}:{number}"] * 3)
        connection.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = streams.read(stream.pk, after=0, limit=1000)
    assert [seq for seq, _, _ in lines] == list(range(1, 601))
    for writer in range(4):
        own = [text for _, _, text in lines if text.startswith(f"{writer}:")]
        assert own == [f"{writer}:{number}" for number in range(50) for _ in range(3)]


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ("", []),
        ("one\ntwo\n", ["one", "two"]),
        ("one\r\n\r\ntwo", ["one", "", "two"]),
        (" 10%\r 50%\r100%\ndone", ["100%", "done"]),
        (" 10%\r 50%\r", [" 50%"]),
        ("\x1b[1;31mred\x1b[0m plain", ["red plain"]),
        ("\x1b]0;title\x07text\x1b]8;;http://x\x1b\\link", ["textlink"]),
        ("bell\x07 nul\x00 tab\there", ["bell nul tab\there"]),
        ("\x9b31mc1\x85", ["c1"]),
        ("name\u202egnp.exe", ["namegnp.exe"]),
        (b"caf\xc3\xa9 \xff", ["café \ufffd"]),
        ("lone \udcff", ["lone \ufffd"]),
        ("a\u2028b\x0bc", ["a\u2028bc"]),
    ],
)
def test_text_is_cleaned_into_lines(raw: str | bytes, lines: list[str]) -> None:
    assert streams.clean(raw) == lines


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x90" * 4000, ""),
        ("\x90one\x9b1mtwo", "onetwo"),
        ("\x1b]0;no end", "0;no end"),
        ("\x1b]0;one\x1b]0;two\x07three", "0;onethree"),
        ("a\x9d\x90title\x9cb", "ab"),
        ("\x1b[" + "1;" * 4000, "1;" * 2000),
    ],
)
def test_an_escape_that_does_not_end_is_text(raw: str, text: str) -> None:
    (line,) = streams.clean(raw)
    assert line.startswith(text) and (len(raw) > streams.MAX_LINE or line == text)


def test_a_line_is_bounded_and_says_that_it_was_cut() -> None:
    (line,) = streams.clean("x" * 10_000)
    assert len(line) == streams.MAX_LINE
    assert line.endswith("(cut)")
    assert streams.clean(line) == [line]


@pytest.mark.parametrize("raw", ["\x1b[0m" * 10_000 + "tail", "\x90" * 20_000, "\r" + "x" * 5000 + "\x1b[" * 10_000])
def test_a_line_longer_than_is_looked_at_says_that_it_was_cut(raw: str) -> None:
    (line,) = streams.clean(raw)
    assert line.endswith(streams.CUT) and len(line) <= streams.MAX_LINE


@given(st.text(alphabet=st.characters(codec=None), max_size=200))
def test_whatever_is_cleaned_holds_no_control_character_and_stays_as_it_is(text: str) -> None:
    lines = streams.clean(text)
    for line in lines:
        assert not any((ord(c) < 32 and c != "\t") or 0x7F <= ord(c) < 0xA0 for c in line)
        line.encode()
    assert [again for line in lines for again in streams.clean(line + "\n")] == lines


def test_retention_keeps_the_newest_and_says_what_is_gone(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "TRIM_BATCH", 7)
    Stream.objects.filter(pk=stream.pk).update(keep=20)
    streams.append(stream.pk, [str(number) for number in range(1, 101)])
    assert streams.trim() == 80
    stream.refresh_from_db()
    assert (stream.first_seq, stream.last_seq) == (81, 100)
    assert texts(stream) == [str(number) for number in range(81, 101)]
    assert streams.trim() == 0
    assert Line.objects.filter(stream=stream).count() == 20


def test_retention_bounds_the_bytes_too_and_keeps_the_newest_that_fit(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "TRIM_BATCH", 7)
    monkeypatch.setattr(streams, "KEEP_BYTES", 1000)
    streams.append(stream.pk, ["short"] * 50)
    streams.append(stream.pk, ["ü" * 100] * 10)
    assert streams.trim() == 55
    stream.refresh_from_db()
    assert (stream.first_seq, stream.last_seq, stream.size_bytes) == (56, 60, 1000)
    assert texts(stream) == ["ü" * 100] * 5
    streams.append(stream.pk, ["x" * 5000])
    streams.append(stream.pk, ["newest"])
    assert streams.trim() == 6
    stream.refresh_from_db()
    assert (texts(stream), stream.size_bytes) == (["newest"], 6)
    assert streams.trim() == 0


@pytest.mark.django_db(transaction=True)
def test_the_size_is_right_whoever_appends_and_trims_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_BYTES", 500)
    monkeypatch.setattr(streams, "TRIM_BATCH", 5)
    stream = Stream.objects.create()

    def write() -> None:
        for number in range(100):
            streams.append(stream.pk, ["x" * (number % 20)] * 3)
        connection.close()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        streams.trim()
    streams.trim()
    stream.refresh_from_db()
    lines = texts(stream)
    assert 480 < stream.size_bytes == sum(map(len, lines)) <= 500
    assert stream.last_seq - stream.first_seq + 1 == len(lines)


def test_retention_of_many_short_streams_is_one_query(db: None, django_assert_num_queries) -> None:
    Stream.objects.bulk_create([Stream() for _ in range(50)])
    with django_assert_num_queries(1):
        streams.trim()
