"""What follows a stop ends within bounded work, whatever the game left: deep trees, wide ones, large files."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import pytest

from jobs.run import Cancelled, Ending, Run
from servers import services
from servers.models import FileChange, FileRevert, Installation, Server
from servers.provenance import comparing, looking, work
from servers.provenance.below import Source
from servers.provenance.looking import look
from servers.runtime import deleting, get_runtime

DEEP, WIDE = 2000, 5000


@pytest.fixture
def left(server: Server, settings, tmp_path: Path, make_deep: Callable[..., None]) -> Path:
    """The files of a stopped server: one folder deep, one wide, both to be reverted with a file."""
    settings.STATE_DIR = tmp_path / "state"
    get_runtime.cache_clear()
    upper = get_runtime().upper(server.name)
    for name in ("deep", "wide"):
        (upper / name).mkdir(parents=True)
    make_deep(upper / "deep", DEEP)
    for number in range(WIDE):
        (upper / "wide" / str(number)).touch()
    (upper / "file").touch()
    for path in ("deep", "wide", "file"):
        FileChange.objects.create(server=server, path=path, kind=FileChange.Kind.ADDED)
        FileRevert.objects.create(server=server, path=path)
    return upper


@pytest.fixture
def deleted(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts what is deleted or moved up."""
    spy = Mock(wraps=deleting._delete)
    monkeypatch.setattr(deleting, "_delete", spy)
    return spy


def lines(run: Run) -> str:
    return "\n".join(text for _, text in run.buffer)


def clock(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    """Each look at the time takes a second."""
    monkeypatch.setattr(module, "time", Mock(monotonic=map(float, count()).__next__))


def test_a_stop_reverts_all_and_leaves_what_takes_long_to_the_next(
    left: Path, server: Server, deleted: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = work.measure(Run(0), server).size
    server.refresh_from_db()
    clock(monkeypatch, work)
    run = Run(0)
    work.look_after(run, server)
    assert not server.file_reverts.exists()
    assert os.listdir(left) == []
    assert deleted.call_count < 50
    assert "The next start or stop goes on with it." in lines(run)
    monkeypatch.undo()
    server.refresh_from_db()
    assert (server.disk_bytes, server.disk_is_cut) == (known, True), "it does not count less for being many"
    work.undo_waiting(Run(0), server)
    assert not get_runtime().undone(server.name).exists()


def test_what_is_reverted_counts_until_it_is_deleted(left: Path, server: Server) -> None:
    before = work.measure(Run(0), server).size
    work.undo_waiting(Run(0), server, seconds=-1)
    assert work.measure(Run(0), server).size >= before - (1 << 20) > 0
    work.undo_waiting(Run(0), server)
    assert work.measure(Run(0), server).size == 0


def test_a_cancelled_job_ends_between_two_files_and_the_next_goes_on(
    left: Path, server: Server, deleted: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(0)
    deleted.side_effect = lambda *_: setattr(run, "stop", Ending("cancelled"))
    with pytest.raises(Cancelled):
        work.undo_waiting(run, server)
    assert deleted.call_count < 5
    monkeypatch.undo()
    work.undo_waiting(Run(0), server)
    assert not server.file_reverts.exists()
    assert not get_runtime().undone(server.name).exists()


def test_reverts_that_a_cancelled_job_did_not_come_to_go_on_waiting(
    left: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BATCH", 1)
    run, undo = Run(0), get_runtime().undo

    def undo_one(name: str, wanted: list[object]) -> object:
        run.stop = Ending("cancelled")
        return undo(name, wanted)

    monkeypatch.setattr(get_runtime(), "undo", undo_one)
    with pytest.raises(Cancelled):
        work.undo_waiting(run, server)
    assert server.file_reverts.count() == 2


def test_what_cannot_be_deleted_keeps_no_server_from_its_start(
    left: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "delete_tree", Mock(side_effect=PermissionError(13, "Permission denied")))
    run = Run(0)
    work.undo_waiting(run, server)
    assert not server.file_reverts.exists()
    assert "could not be deleted (Permission denied)" in lines(run)


def test_comparing_large_files_ends_with_the_time_there_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "CHUNK", 1024)
    clock(monkeypatch, looking)
    for top in ("own", "layer"):
        (tmp_path / top).mkdir()
        (tmp_path / top / "large").write_bytes(bytes(1 << 20))
    os.utime(tmp_path / "layer/large", (0, 0))
    read = Mock(wraps=os.read)
    monkeypatch.setattr(comparing.os, "read", read)
    found = look(Run(0), server, tmp_path / "own", [Source("Layer", tmp_path / "layer")], seconds=20)
    assert found.is_cut
    assert not found.changes
    assert read.call_count < 50


def test_a_version_with_files_without_end_is_not_listed_by_a_stop(
    server: Server, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STATE_DIR = tmp_path
    get_runtime.cache_clear()
    version = Installation.objects.create(
        node=server.node, game=server.game, version="1", state="ready", is_current=True
    )
    services.folder(version).mkdir(parents=True)
    for number in range(100):
        (services.folder(version) / str(number)).touch()
    clock(monkeypatch, work)
    work.take_look(Run(0), server, seconds=20)
    version.refresh_from_db()
    assert version.file_count is None
    monkeypatch.undo()
    work.take_look(Run(0), server)
    version.refresh_from_db()
    assert version.file_count == 100


def test_folders_with_paths_too_long_to_be_listed_are_not_looked_into(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their paths would be many, long and in nobody's list."""
    (tmp_path / "/".join(["d" * 250] * 12)).mkdir(parents=True)
    spy = Mock(wraps=looking.upper.read_folder)
    monkeypatch.setattr(looking.upper, "read_folder", spy)
    assert look(Run(0), server, tmp_path, []).is_cut
    assert spy.call_count <= 5
