"""A server's own files over the layers below: what a look finds, and going back, with real games and real mounts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import worker
from jobs.models import Job
from portal.models import User
from servers import services
from servers.errors import NothingToRevert
from servers.models import AuditEvent, FileChange, Installation, Server
from servers.runtime import get_runtime
from tests.servers.living import lines_of

BEFORE = {
    "a.cfg": "one\ntwo\n", "b.cfg": "b\n", "same.cfg": "same\n", "touched.cfg": "touched\n", "blob.bin": "\0old",
    "maps/old/1.bsp": "1", "maps/old/2.bsp": "2", "cfg/sub/x.cfg": "x", "cfg/y.cfg": "y", "was_folder/f": "f",
}  # fmt: skip
GAME = """
import os, pathlib, shutil, time
print("a.cfg has", pathlib.Path("a.cfg").read_text().split())
print("files", sorted(str(path) for path in pathlib.Path(".").rglob("*") if path.is_file()))
if not os.path.exists("made"):
    pathlib.Path("a.cfg").write_text("one\\nTWO secretsecret\\n")
    pathlib.Path("blob.bin").write_text("\\0new")
    pathlib.Path("same.cfg").write_text("same\\n")
    open("touched.cfg", "a").close()
    os.unlink("b.cfg")
    shutil.rmtree("maps/old")
    shutil.rmtree("cfg")
    os.makedirs("cfg")
    pathlib.Path("cfg/own.cfg").write_text("own")
    shutil.rmtree("was_folder")
    pathlib.Path("was_folder").write_text("a file")
    os.makedirs("logs/deep")
    pathlib.Path("logs/deep/1.log").write_text("line")
    os.symlink("/etc/passwd", "logs/link")
    pathlib.Path("made").write_text("")
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
K = FileChange.Kind
FOUND = {
    "a.cfg": K.CHANGED, "blob.bin": K.CHANGED, "was_folder": K.CHANGED, "b.cfg": K.DELETED, "maps/old": K.DELETED,
    "cfg": K.RENEWED, "cfg/own.cfg": K.ADDED, "logs/deep/1.log": K.ADDED, "logs/link": K.ADDED, "made": K.ADDED,
    "same.cfg": K.SAME, "touched.cfg": K.SAME,
}  # fmt: skip


def run(job: Job | None) -> Job:
    assert job
    worker.run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    return job


def start(server: Server) -> Job:
    return run(services.start_server(by=server.owner, server=server))


def stop(server: Server) -> Job:
    return run(services.stop_server(by=server.owner, server=server))


def found(server: Server) -> dict[str, int]:
    return dict(server.file_changes.values_list("path", "kind"))


def printed(server: Server) -> list[str]:
    """What the game printed at its last start."""
    lines, cursor = [], ""
    while more := (page := get_runtime().read_console(server.name, cursor))[0]:
        lines, cursor = lines + more, page[1]
    last = max(n for n, line in enumerate(lines) if line.startswith("a.cfg has"))
    return lines[last : last + 2]


@pytest.fixture
def installed(scripted: Callable[..., Server]) -> Server:
    """A server whose game will change its files, as `FOUND` says."""
    server = scripted(GAME)
    server.secrets = {"rcon": "secretsecret"}
    server.save()
    files = services.folder(Installation.objects.get())
    for path, text in BEFORE.items():
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_text(text)
    return server


@pytest.fixture
def played(installed: Server) -> Server:
    """It has done so, and was stopped."""
    start(installed)
    stop(installed)
    return installed


def test_a_stop_tells_what_the_game_changed(played: Server) -> None:
    assert found(played) == FOUND
    by_path = {change.path: change for change in played.file_changes.all()}
    assert by_path["a.cfg"].diff == "@@ -1,2 +1,2 @@\n one\n-two\n+TWO •••"
    assert by_path["a.cfg"].below == "Scripted 1"
    assert (by_path["blob.bin"].diff, by_path["blob.bin"].remark) == ("", "It is not a text.")
    assert [by_path[path].hides for path in ("maps/old", "cfg", "was_folder")] == [2, 2, 1]
    assert by_path["logs/link"].remark == "It is a link."
    assert Installation.objects.get().file_count == len(BEFORE) + 1
    assert played.file_look.remark == ""


def test_without_mounts_changes_are_told_once_it_has_stopped(installed: Server, alice: User, settings) -> None:
    settings.LOCAL_MOUNT = "copy"
    get_runtime.cache_clear()
    start(installed)
    run(services.look_at_files(by=alice, server=installed))
    assert installed.file_look.remark == "What it changes now is seen once it has stopped."
    assert not found(installed)
    stop(installed)
    in_place = {"cfg/sub": K.DELETED, "cfg/y.cfg": K.DELETED}  # instead of a folder that hides them
    assert found(installed) == {p: k for p, k in FOUND.items() if p not in ("cfg", "touched.cfg")} | in_place
    services.revert_files(by=alice, server=installed)
    run(Job.objects.latest("pk"))
    assert {change.kind for change in installed.file_changes.all()} == {K.ADDED}


def test_a_file_of_a_stopped_server_is_reverted_at_once(played: Server, alice: User) -> None:
    job = run(services.revert_files(by=alice, server=played, paths=["a.cfg"]))
    assert found(played) == {path: kind for path, kind in FOUND.items() if path != "a.cfg"}
    assert not played.file_reverts.exists()
    event = AuditEvent.objects.get(action="revert files")
    assert (event.actor, event.detail["paths"], event.detail["job"]) == (alice, ["a.cfg"], job.pk)
    assert "Reverted 1 of its files to the layers below." in lines_of(job.stream_id)
    start(played)
    assert printed(played)[0] == "a.cfg has ['one', 'two']"


def test_what_a_running_server_is_asked_to_revert_waits_for_its_next_start(played: Server, alice: User) -> None:
    start(played)
    Server.objects.filter(pk=played.pk).update(unit="running")  # as the agent would
    assert services.revert_files(by=alice, server=played, paths=["a.cfg", "b.cfg"]) is None
    services.keep_files(by=alice, server=played, paths=["b.cfg"])
    own = get_runtime().upper(played.name)
    assert (own / "a.cfg").exists()
    run(services.restart_server(by=alice, server=played))
    assert printed(played)[0] == "a.cfg has ['one', 'two']"
    assert "'b.cfg'" not in printed(played)[1]
    assert not played.file_reverts.exists()
    assert set(FOUND) - set(found(played)) == {"a.cfg"}


def test_a_revert_whose_server_runs_after_all_leaves_it_to_the_next_start(played: Server, alice: User) -> None:
    start(played)  # no agent has seen that yet
    job = run(services.revert_files(by=alice, server=played, paths=["b.cfg"]))
    assert "It runs, so its files are reverted at its next start." in lines_of(job.stream_id)
    assert [one.path for one in played.file_reverts.all()] == ["b.cfg"]
    stop(played)
    assert not played.file_reverts.exists()
    assert "b.cfg" not in found(played)


def test_reverting_everything_leaves_what_the_server_added(played: Server, alice: User) -> None:
    for _ in range(2):
        services.revert_files(by=alice, server=played)
        run(Job.objects.latest("pk"))
        played.file_changes.create(path="a.cfg", kind=K.CHANGED)  # as if the job had been killed before it said so
    assert set(found(played)) == {"a.cfg", "cfg/own.cfg", "logs/deep/1.log", "logs/link", "made"}
    start(played)
    names = {*BEFORE, "cfg/own.cfg", "logs/deep/1.log", "logs/link", "made", "game.py"}
    assert printed(played) == ["a.cfg has ['one', 'two']", f"files {sorted(names)}"]


def test_what_was_only_added_is_deleted_when_it_is_named(played: Server, alice: User) -> None:
    services.revert_files(by=alice, server=played, paths=["logs/link", "logs/deep/1.log"])
    run(Job.objects.latest("pk"))
    assert not {"logs/link", "logs/deep/1.log"} & set(found(played))
    assert Path("/etc/passwd").exists()
    with pytest.raises(NothingToRevert):
        services.revert_files(by=alice, server=played, paths=["logs/link"])
    with pytest.raises(NothingToRevert):
        services.revert_files(by=alice, server=played, paths=["made", "../../installations"])


def test_a_server_that_never_ran_has_changed_nothing(scripted: Callable[..., Server], alice: User) -> None:
    server = scripted(GAME)
    job = run(services.look_at_files(by=alice, server=server))
    assert lines_of(job.stream_id)[-1] == "Its own files: none."
    with pytest.raises(NothingToRevert):
        services.revert_files(by=alice, server=server)
