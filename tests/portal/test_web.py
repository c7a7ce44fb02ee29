"""The web process: where it listens and what it sets right about daphne."""

import resource
import socket
from http.client import HTTPConnection
from pathlib import Path

import pytest

from portal import web
from tests.stack import Stack, wait_for


class UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def answers(path: Path) -> bool:
    connection = UnixConnection(path)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["tcp:port=8000:interface=127.0.0.1:backlog=4096"]),
        ({"host": "::1", "port": 80}, [r"tcp:port=80:interface=\:\:1:backlog=4096"]),
        ({"unix": ["/run/a", "/run/b"]}, [f"unix:/run/{name}:mode=660:backlog=4096" for name in "ab"]),
        ({"fd": 3}, ["fd:fileno=3"]),
    ],
)
def test_it_listens_where_it_is_told(given: dict, expected: list[str]) -> None:
    assert web.endpoints(**{"host": "127.0.0.1", "port": None, "unix": [], "fd": None} | given) == expected


def test_it_serves_on_a_unix_socket_and_comes_back_after_a_kill(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    for _ in range(2):
        stack.start("web", "--unix", str(path))
        wait_for(lambda: answers(path), seconds=30, what="an answer on the unix socket")
        assert path.stat().st_mode & 0o777 == 0o660
        stack.kill("web")
        assert path.exists()


def test_it_leaves_a_socket_alone_that_another_process_answers_on(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        web.remove_stale(str(path))
        assert path.exists()


def test_it_says_so_when_the_port_is_taken(stack: Stack) -> None:
    stack.start_web("one")
    second = stack.start("web", "--port", str(stack.port), name="two")
    assert second.wait(30) == 1
    assert "could not listen" in (stack.folder / "two.log").read_text()


def test_it_may_open_as_many_files_as_there_are_viewers(stack: Stack) -> None:
    stack.start_web()
    limits = Path(f"/proc/{stack.processes['web'].pid}/limits").read_text()
    soft = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    assert int(soft) == min(web.OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
