"""Every line of a game exactly once, whatever happens to writer and reader in between."""

import os
from pathlib import Path

import pytest

from servers.runtime import console as reader
from servers.runtime.keeper import console as keeper_console
from servers.runtime.keeper.console import Console
from tests.servers.host import GAME, Host, kill_keeper
from tests.stack import wait_for

SEGMENT = 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def writer(folder: Path) -> Console:
    return Console(os.open(folder, os.O_RDONLY), segment_bytes=SEGMENT)


def read(folder: Path, cursor: str = "", limit: int = 1000) -> tuple[list[str], str]:
    return reader.read(folder, cursor, limit, segment_bytes=SEGMENT)


def test_twenty_readers_one_after_the_other_get_each_line_once_over_many_rotations(folder: Path) -> None:
    log = writer(folder)
    cursor, seen = "", []
    for n in range(20):
        if n % 5 == 4:
            log = writer(folder)
        for m in range(30):
            log.write(f"line {n * 30 + m:04}\n".encode())
        while True:
            lines, cursor = read(folder, cursor, limit=7)
            seen += lines
            if not lines:
                break
    assert seen == [f"line {n:04}" for n in range(600)]
    assert len(list(folder.iterdir())) <= 2


def test_a_line_is_told_once_it_is_whole(folder: Path) -> None:
    log = writer(folder)
    log.write(b"half")
    assert read(folder) == ([], "")
    log.write(b" and half\nmore")
    lines, cursor = read(folder)
    assert lines == ["half and half"]
    assert read(folder, cursor) == ([], cursor)
    log.end_line()
    assert read(folder, cursor)[0] == ["more"]


def test_a_line_that_is_begun_and_not_ended_is_told_after_a_while(folder: Path, monkeypatch) -> None:
    """Nothing is lost or doubled, and an end that comes late adds no empty line."""
    monkeypatch.setattr(keeper_console, "BEGUN_SECONDS", 0.0)
    log = writer(folder)
    assert log.due == float("inf")
    log.write(b"one\nLoading")
    log.end_begun_line()
    log.end_begun_line()
    assert read(folder)[0] == ["one", "Loading"]
    log.write(b"\n")
    log.write(b"\nhalf")
    log.end_begun_line()
    log.write(b" the rest\nlast")
    log.end_begun_line()
    log.remark("It ended.")
    assert read(folder)[0] == ["one", "Loading", "", "half", " the rest", "last", "[left4me] It ended."]


def test_a_line_is_not_ended_before_its_time_however_often_something_comes(folder: Path) -> None:
    log = writer(folder)
    log.write(b"10%")
    due = log.due
    log.write(b" 20%")
    log.end_begun_line()
    assert log.due == due < float("inf") and read(folder) == ([], "")
    log.write(b"\nnext")
    assert log.due > due


def test_a_game_that_waits_behind_the_begin_of_a_line_shows_it(host: Host) -> None:
    host.runtime.start(host.spec("#!/bin/sh\nprintf 'Loading …'\nwhile :; do sleep 0.05; done\n"))
    host.wait_line("Loading …")


def test_a_remark_begins_a_line_also_after_a_keeper_that_died_in_one(folder: Path) -> None:
    writer(folder).write(b"half")
    writer(folder).remark("Here I am.")
    assert read(folder)[0] == ["half", "[left4me] Here I am."]


def test_what_nobody_read_in_time_is_told_in_one_line_with_its_size(folder: Path) -> None:
    log = writer(folder)
    log.write(b"first\n")
    _, cursor = read(folder)
    for n in range(1000):
        log.write(f"line {n:04}\n".encode())
    lines, cursor = read(folder, cursor)
    while new := read(folder, cursor)[0]:
        lines += new
        cursor = read(folder, cursor)[1]
    kept = len(lines) - 1
    assert lines[0] == f"[left4me] {(1000 - kept) * 10} bytes of output were dropped before they were read."
    assert lines[1:] == [f"line {n:04}" for n in range(1000 - kept, 1000)]
    assert kept >= SEGMENT // 10


def test_a_log_that_was_started_afresh_is_read_from_its_beginning(folder: Path) -> None:
    writer(folder).write(b"new\n")
    assert read(folder, "123456:10")[0] == ["[left4me] The console was started afresh.", "new"]


def test_a_line_without_an_end_comes_in_pieces_and_does_not_stop_rotation(folder: Path) -> None:
    log = writer(folder)
    for _ in range(100):
        log.write(b"x" * 10_000)
    log.write(b"\nend\n")
    lines, cursor = read(folder)
    while new := read(folder, cursor)[0]:
        lines += new
        cursor = read(folder, cursor)[1]
    assert lines[-1] == "end"
    assert len(lines) > 2
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000


def test_an_endless_line_within_one_segment_is_read_in_bounded_pieces(folder: Path) -> None:
    Console(os.open(folder, os.O_RDONLY)).write(b"y" * 600_000)
    lines, cursor = reader.read(folder, "", 1000)
    assert [len(line) for line in lines] == [reader.READ_BYTES]
    assert len(reader.read(folder, cursor, 1000)[0][0]) == reader.READ_BYTES


def test_bytes_that_are_no_text_are_read_and_a_carriage_return_is_no_line_end(folder: Path) -> None:
    writer(folder).write(b"\xff\xfe\x00 bar\rbaz\n\n")
    assert read(folder)[0] == ["\ufffd\ufffd\x00 bar\rbaz", ""]


def test_a_disk_that_fills_up_costs_lines_but_neither_the_game_nor_the_count(folder: Path) -> None:
    log = writer(folder)
    log.write(b"before\n")
    room = os.dup(log._file)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, log._file)
    log.write(b"lost\n")
    log.write(b"lost\n")
    os.dup2(room, log._file)
    log.write(b"after\n")
    assert read(folder)[0] == ["before", "[left4me] 10 bytes of output were not kept: the disk was full.", "after"]


def test_a_games_output_and_errors_arrive_in_order_over_restarts_and_a_killed_keeper(host: Host) -> None:
    spec = host.spec("#!/bin/sh\ni=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done\n" + GAME)
    cursor, seen = "", []

    def follow() -> bool:
        nonlocal cursor
        lines, cursor = host.runtime.read_console("one", cursor, 100)
        seen.extend(lines)
        return not lines

    expected = [f"{kind} {n}" for n in range(500) for kind in ("out", "err")] + ["ready"]
    for _ in range(2):
        host.runtime.start(spec)
        host.wait_line("ready")
        wait_for(follow, what="the console's end")
        kill_keeper(host)
        host.wait_unit("crashed")
    wait_for(follow, what="the console's end")
    assert seen == expected * 2


def test_a_flood_of_output_neither_fills_the_disk_nor_delays_a_stop(host: Host) -> None:
    host.runtime.start(host.spec("#!/bin/sh\ntrap 'exit 0' INT\nyes 0123456789 &\n" + GAME.partition("\n")[2]))
    wait_for(lambda: len(list((host.folder() / "console").iterdir())) == 2, what="a rotation")
    host.runtime.stop("one")
    assert host.state().unit == "stopped"
    assert sum(path.stat().st_size for path in (host.folder() / "console").iterdir()) < 18 << 20


def test_the_console_of_a_server_that_never_ran_is_empty(host: Host) -> None:
    assert host.runtime.read_console("one", "") == ([], "")
