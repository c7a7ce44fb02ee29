"""A process tells its supervisor once that it is ready."""

import os
import socket
from pathlib import Path

import pytest

from jobs.supervision import tell_ready


def test_the_supervisor_hears_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        tell_ready()
        assert supervisor.recv(100) == b"READY=1"
        assert "NOTIFY_SOCKET" not in os.environ, "children must not speak for us"
        tell_ready()
        supervisor.settimeout(0)
        with pytest.raises(BlockingIOError):
            supervisor.recv(100)


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_ready()
