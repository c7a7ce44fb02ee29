"""The program that counts files on a real host, and what asks it. tests/deploy/test_disk_use.py runs it in its unit."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from servers.runtime import asked_measure, measure_service
from servers.runtime.asked_measure import AskedMeasure
from servers.runtime.measuring import Measure, own_folders

MIB = 1 << 20


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """At the place where the portal asks."""
    monkeypatch.setattr(asked_measure, "SOCKET", str(tmp_path / "measure.sock"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(asked_measure.SOCKET)
        listener.listen()
        yield listener


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """With one server that has 3 MiB in a hundred folders and 1 MiB in its scratch folder."""
    for number in range(100):
        (tmp_path / f"runtime/arena/upper/{number}").mkdir(parents=True)
    (tmp_path / "runtime/arena/upper/50/large").write_bytes(bytes(3 * MIB))
    (tmp_path / "runtime/arena/tmp").mkdir()
    (tmp_path / "runtime/arena/tmp/small").write_bytes(bytes(MIB))
    return tmp_path / "runtime"


@pytest.fixture
def service(listener: socket.socket, place: Path) -> Iterator[None]:
    def serve() -> None:
        with suppress(OSError):  # of accept(2), at the end
            measure_service.serve(listener, place)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def counted(measure: Measure) -> tuple[int, bool, bool]:
    with closing(measure):
        while not measure.step():
            pass
        return measure.size, measure.is_cut, measure.is_deep


@pytest.mark.usefixtures("service")
def test_the_service_counts_what_the_portal_would(place: Path, tmp_path: Path, make_deep) -> None:
    truth = counted(Measure(own_folders(place / "arena")))
    assert 4 * MIB < truth[0] < 5 * MIB
    assert counted(AskedMeasure("arena", [(tmp_path / "not-asked", 0.0)])) == truth
    assert counted(AskedMeasure("arena", [], enough=4096))[0] < truth[0]
    assert counted(AskedMeasure("nobody", [])) == (0, False, False)
    make_deep(place / "arena/tmp", 2000)
    size, is_cut, is_deep = counted(AskedMeasure("arena", []))
    assert size > truth[0]
    assert is_deep
    assert not is_cut


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(
    "question",
    [
        *(b"", b"\n", b"{}\n", b"[]\n", b"null\n", b"\xff\n", b"{" * 10_000, b'{"name": "arena"}\n'),
        *(
            json.dumps({"name": name, "enough": None}).encode() + b"\n"
            for name in ("..", "a/b", "", "A", None, 1, "a\n")
        ),
        *(json.dumps({"name": "arena", "enough": enough}).encode() + b"\n" for enough in ("1", 1.5, True, [])),
    ],
)
def test_what_is_no_question_gets_no_answer_and_the_next_one_does(question: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(asked_measure.SOCKET)
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer, suppress(ConnectionResetError):  # it did not read all of that
            assert answer.read() == b""
    assert counted(AskedMeasure("arena", []))[0] > 4 * MIB


@pytest.mark.usefixtures("service")
def test_who_connects_and_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_service, "PATIENCE", 0.1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(asked_measure.SOCKET)
        assert counted(AskedMeasure("arena", []))[0] > 4 * MIB
        assert silent.recv(1) == b""


@pytest.mark.usefixtures("service")
def test_progress_is_told_and_a_walk_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setattr(measure_service, "TELL_EVERY", 0)
    monkeypatch.setattr(measure_service, "LONGEST", 0)
    size, is_cut, _ = counted(AskedMeasure("arena", []))
    assert is_cut
    assert size <= counted(Measure(own_folders(place / "arena")))[0]
    monkeypatch.setattr(measure_service, "LONGEST", 60)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(asked_measure.SOCKET)
        connection.sendall(b'{"name": "arena", "enough": null}\n')
        with connection.makefile("rb") as answer:
            told = [json.loads(line) for line in answer]
    assert len(told) > 50
    assert [one["is_done"] for one in told] == [False] * (len(told) - 1) + [True]
    assert [one["size"] for one in told] == sorted(one["size"] for one in told)


def test_where_nobody_listens_the_portal_counts_what_it_sees(place: Path) -> None:
    folders = own_folders(place / "arena")
    assert counted(AskedMeasure("arena", folders)) == counted(Measure(folders))


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\n", b"{}\n", b'{"size": 9, "is_cut": true, "is_deep": true, "is_done": false}\n', b"x" * 100_000],
)
def test_a_service_that_ends_half_way_is_not_believed(listener: socket.socket, place: Path, answer: bytes) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    folders = own_folders(place / "arena")
    assert counted(AskedMeasure("arena", folders)) == counted(Measure(folders))
    thread.join()
