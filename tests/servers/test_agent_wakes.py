"""Lines reach the database without polling: what wakes the agent, what it makes of too many wake-ups, and of none."""

import ctypes
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings as django_settings

from jobs import streams
from jobs.models import Stream
from servers.agent import allowance
from servers.agent.consoles import VAIN
from servers.agent.watch import Watch
from servers.models import Node, Server
from servers.runtime import get_runtime, inotify, pokes
from servers.runtime.inotify import FolderWakes
from servers.runtime.keeper.console import Console
from servers.runtime.keeper.state import replace
from servers.runtime.pokes import PipeWakes
from servers.runtime.wakes import Wakes
from tests.servers.living import lines_of
from tests.stack import wait_for

NEVER = 1000.0  # seconds between scans: what arrives was not found by one


@pytest.fixture
def watch(transactional_db: None, node: Node, settings, tmp_path) -> Iterator[Watch]:
    settings.STATE_DIR = tmp_path
    get_runtime.cache_clear()
    made = Watch(node, scan_every=NEVER)
    yield made
    made.wakes.close()
    get_runtime.cache_clear()


@pytest.fixture
def printing(watch: Watch, server: Server) -> Callable[..., Console]:
    """`printing()` makes a running server's folder and gives its console to write to."""

    def make(number: int = 0) -> Console:
        name = server.name
        if number:
            name = f"other-{number}"
            Server.objects.create(name=name, owner=server.owner, node=server.node, game="x",
                                  console=Stream.objects.create())  # fmt: skip
        return Console(folder_of(name))

    return make


def folder_of(name: str) -> int:
    folder = django_settings.STATE_DIR / "runtime" / name
    (folder / "console").mkdir(parents=True, exist_ok=True)
    return os.open(folder / "console", os.O_RDONLY)


def turns(watch: Watch, until: Callable[[], object], most: int = 200) -> int:
    """Let the agent go on until then; how often it had to. Nothing else wakes it: a lost wake-up fails."""
    limit = time.monotonic() + 20
    for number in range(most):
        if time.monotonic() > limit:
            break
        watch.step()
        if until():
            return number
        watch.wait(5)
    raise AssertionError(f"not within {most} turns")


def quiet(watch: Watch) -> None:
    """All that is due has been done."""
    for _ in range(50):
        watch.step()
        if watch.consoles.next_due == float("inf"):
            return
        watch.wait(0.05)
    raise AssertionError("there is always something to read")


@contextmanager
def counted_appends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many lines each append stored; the real one does it."""
    real, seen = streams.append, []

    def append(stream: int, lines: list[str], **more: object) -> int:
        seen.append(len(lines))
        return real(stream, lines, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(streams, "append", append)
        yield seen


def test_a_line_is_stored_without_a_scan(watch: Watch, printing, server: Server) -> None:
    console = printing()
    quiet(watch)
    for number in range(20):
        console.write(f"line {number}\n".encode())
        turns(watch, lambda number=number: f"line {number}" in lines_of(server.console_id))
    assert lines_of(server.console_id) == [f"line {number}" for number in range(20)]


def test_what_is_printed_in_one_go_is_stored_in_few_transactions(watch: Watch, printing, server, monkeypatch) -> None:
    console = printing()
    quiet(watch)
    with counted_appends(monkeypatch) as appended:
        writer = threading.Thread(target=lambda: [console.write(f"{n}\n".encode()) for n in range(900)])
        writer.start()
        turns(watch, lambda: len(lines_of(server.console_id)) == 900)
        writer.join()
    assert len(appended) < 90


def test_a_state_is_told_without_a_scan(watch: Watch, printing, server: Server) -> None:
    printing()
    quiet(watch)
    folder = os.open(django_settings.STATE_DIR / "runtime" / server.name, os.O_RDONLY)
    replace(folder, {"unit": "crashed", "detail": "It broke.", "since": 0, "restarts": 0})
    turns(watch, lambda: Server.objects.get(pk=server.pk).unit == "crashed")


def test_a_folder_that_another_replaced_is_watched(watch: Watch, printing, server: Server) -> None:
    printing().write(b"before\n")
    quiet(watch)
    get_runtime().remove(server.name, "token")
    turns(watch, lambda: True)
    console = printing()
    quiet(watch)
    watch.scan_soon()
    turns(watch, lambda: len(watch.wakes._watches[server.name]) == 2)  # type: ignore[attr-defined]
    quiet(watch)
    console.write(b"x" * 20 + b"\nafter\n")
    turns(watch, lambda: "after" in lines_of(server.console_id))


def test_a_missed_wake_up_is_made_good_by_a_scan(watch: Watch, printing, server: Server, monkeypatch) -> None:
    console = printing()
    quiet(watch)
    monkeypatch.setattr(watch.wakes, "_ready", lambda number, woken: os.read(number, 1 << 16))
    console.write(b"line\n")
    watch.wait(0.2)
    watch.step()
    assert lines_of(server.console_id) == []
    watch.scan_soon()
    turns(watch, lambda: lines_of(server.console_id) == ["line"])


def test_events_that_overflowed_have_everything_read(watch: Watch, printing, server: Server) -> None:
    console = printing()
    quiet(watch)
    console.write(b"line\n")
    os.read(watch.wakes._notify, 1 << 16)  # type: ignore[attr-defined]
    overflow = inotify.HEADER.pack(-1, inotify.IN_Q_OVERFLOW, 0, 0)
    reading, writing = os.pipe()
    os.write(writing, overflow)
    os.dup2(reading, watch.wakes._notify)  # type: ignore[attr-defined]
    watch.wakes._epoll.register(watch.wakes._notify, 1)  # type: ignore[attr-defined]
    turns(watch, lambda: lines_of(server.console_id) == ["line"])


def test_without_watches_left_consoles_are_polled_and_the_log_says_so_once(
    watch: Watch, printing, server: Server, monkeypatch, caplog
) -> None:
    console = printing()

    class NoSpace:
        def inotify_add_watch(self, *_: object) -> int:
            ctypes.set_errno(28)
            return -1

        def inotify_rm_watch(self, *_: object) -> int:
            return 0

    monkeypatch.setattr(inotify, "_libc", NoSpace())
    with caplog.at_level(logging.WARNING):
        watch.step()
        console.write(b"line\n")
        turns(watch, lambda: lines_of(server.console_id) == ["line"])
        watch.scan_soon()
        watch.step()
    assert [record.message for record in caplog.records if "polled" in record.message] == [
        "Consoles are polled: inotify says “No space left on device”. "
        "Raise fs.inotify.max_user_watches and max_user_instances."
    ]


def test_a_flood_of_one_does_not_keep_anothers_line_waiting(
    watch: Watch, printing, server: Server, monkeypatch
) -> None:
    flood, other = printing(1), printing()
    flood.write(b"".join(b"flood %d\n" % number for number in range(100_000)))
    other.write(b"line 0\n")
    quiet_enough = turns(watch, lambda: "line 0" in lines_of(server.console_id))
    assert quiet_enough <= 3
    for number in range(1, 10):
        other.write(f"line {number}\n".encode())
        assert turns(watch, lambda number=number: f"line {number}" in lines_of(server.console_id)) <= 3
    theirs = Server.objects.get(name="other-1").console_id
    turns(watch, lambda: Stream.objects.get(pk=theirs).last_seq == 100_000, most=500)


def test_a_flood_beyond_what_is_stored_loses_lines_of_its_own_and_says_how_many(
    watch: Watch, printing, server: Server, monkeypatch
) -> None:
    """Also when another agent goes on in the middle: what is stored and what is told make all that was printed."""
    monkeypatch.setattr(allowance, "AT_ONCE", 3000)
    flood, other = printing(1), printing()
    theirs, lines = Server.objects.get(name="other-1").console_id, 50_000

    def printed() -> int:
        at = 0
        for line in lines_of(theirs):
            if dropped := re.fullmatch(r"\[left4me\] (\d+) lines were dropped: .*", line):
                at += int(dropped[1])
            else:
                assert line == f"flood {at}"
                at += 1
        return at

    flood.write(b"".join(b"flood %d\n" % number for number in range(lines)))
    for number in range(20):
        other.write(f"line {number}\n".encode())
        assert turns(watch, lambda number=number: f"line {number}" in lines_of(server.console_id)) <= 3
        if number % 5 == 4:
            watch.start_over()
    turns(watch, lambda: printed() == lines, most=2000)
    stored = Stream.objects.get(pk=theirs).last_seq
    assert 3000 <= stored < lines / 2
    assert lines_of(server.console_id) == [f"line {number}" for number in range(20)]


def test_a_console_that_was_deleted_meanwhile_costs_the_others_nothing(watch: Watch, printing, server: Server) -> None:
    gone, other = printing(1), printing()
    quiet(watch)
    gone.write(b"line\n")
    other.write(b"line\n")
    theirs = Server.objects.get(name="other-1")
    Server.objects.filter(pk=theirs.pk).delete()
    Stream.objects.filter(pk=theirs.console_id).delete()
    turns(watch, lambda: lines_of(server.console_id) == ["line"])


def test_an_agent_that_takes_the_lock_again_asks_how_far_another_read(watch: Watch, printing, server: Server) -> None:
    console = printing()
    console.write(b"one\n")
    turns(watch, lambda: lines_of(server.console_id) == ["one"])
    quiet(watch)
    console.write(b"two\n")
    lines, cursor = get_runtime().read_console(server.name, Stream.objects.get(pk=server.console_id).cursor)
    streams.append(server.console_id, lines, cursor=cursor)  # as the other agent
    watch.start_over()
    quiet(watch)
    assert lines_of(server.console_id) == ["one", "two"]


def test_wake_ups_that_bring_nothing_are_soon_answered_as_seldom_as_by_polling(watch: Watch, printing, server) -> None:
    printing()
    quiet(watch)
    for _ in range(VAIN + 1):
        watch.consoles.read_soon([server.name], woken=True)
        watch.consoles.round()
    watch.consoles.read_soon([server.name], woken=True)
    console = watch.consoles._by_name[server.name]
    assert console.due > console.read_at + 0.09


@pytest.mark.parametrize("what", ["nothing", "a file", "a link", "a folder", "a pipe"])
def test_only_a_pipe_is_listened_to_and_it_is_opened_again_when_replaced(what: str, tmp_path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    pipe = folder / pokes.PIPE_NAME
    os.mkfifo(tmp_path / "elsewhere")
    made: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "a file": lambda: pipe.write_text("text"),
        "a link": lambda: pipe.symlink_to(tmp_path / "elsewhere"),
        "a folder": lambda: (pipe / "inner").mkdir(parents=True),
        "a pipe": lambda: pokes.make_pipe(folder),
    }
    made[what]()
    wakes = PipeWakes(tmp_path, no_journal)
    assert wakes.follow(["one"], ["one"]) == ({"one"} if what == "a pipe" else set())
    pokes.make_pipe(folder)
    before = pipe.stat().st_ino
    wakes.follow(["one"], ["one"])
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    assert (wakes.wait(0).consoles, os.write(writer, b"x")) == (set(), 1)
    assert wakes.wait(5).consoles == {"one"}
    os.close(writer)
    assert wakes.wait(0).consoles == set(), "a writer that went is no wake-up"
    (tmp_path / "kept").hardlink_to(pipe)  # so that its number is not given again
    pokes.make_pipe(folder)
    assert pipe.stat().st_ino != before
    assert wakes.follow(["one"], ["one"]) == {"one"}
    wakes.close()


def no_journal():
    from servers.runtime.journal import JournalError

    raise JournalError("There is none.")


@pytest.mark.parametrize("make", [Wakes, lambda: FolderWakes(django_settings.STATE_DIR)])
def test_a_ring_from_another_thread_ends_the_wait(make: Callable[[], Wakes]) -> None:
    wakes = make()
    threading.Timer(0.05, wakes.ring).start()
    ended = threading.Event()
    waiter = threading.Thread(target=lambda: (wakes.wait(60), ended.set()))
    waiter.start()
    wait_for(ended.is_set, what="the end of the wait")
    wakes.close()
    wakes.ring()
