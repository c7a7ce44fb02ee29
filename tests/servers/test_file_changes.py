"""A server's own files over the layers below: what a look finds, and going back, with real games and real mounts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import worker
from jobs.models import Job
from jobs.run import Run
from portal.models import User
from servers import services
from servers.disk import last_known
from servers.errors import DiskLimit, NothingToRevert
from servers.models import AuditEvent, FileChange, FileLook, Installation, Server
from servers.provenance import looking, work
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


def test_everything_goes_also_what_was_added(played: Server, alice: User) -> None:
    job = run(services.revert_everything(by=alice, server=played))
    assert not played.file_changes.exists()
    assert not played.file_reverts.exists()
    assert "Reverted all of its files to the layers below." in lines_of(job.stream_id)
    event = AuditEvent.objects.get(action="revert everything")
    assert (event.actor, event.detail["job"]) == (alice, job.pk)
    run(services.revert_everything(by=alice, server=played))
    start(played)
    assert printed(played) == ["a.cfg has ['one', 'two']", f"files {sorted([*BEFORE, 'game.py'])}"]


@pytest.mark.parametrize("mount", ["overlay", "copy"])
def test_everything_of_a_running_server_waits_for_its_next_start(
    installed: Server, alice: User, settings, mount: str
) -> None:
    settings.LOCAL_MOUNT = mount
    get_runtime.cache_clear()
    start(installed)
    Server.objects.filter(pk=installed.pk).update(unit="running")  # as the agent would
    for _ in range(2):
        assert services.revert_everything(by=alice, server=installed) is None
    services.keep_files(by=alice, server=installed)
    assert not installed.file_reverts.exists()
    services.revert_everything(by=alice, server=installed)
    change = FileChange(server=installed, path="logs/1", kind=K.ADDED)
    services.record_look(server=installed, over="", remark="55008 more are not listed.", changes=[change])
    run(services.restart_server(by=alice, server=installed))
    assert printed(installed) == ["a.cfg has ['one', 'two']", f"files {sorted([*BEFORE, 'game.py'])}"]
    assert not installed.file_reverts.exists()
    assert not installed.file_changes.exists(), "a start looks at nothing, so the list is what was reverted"
    assert FileLook.objects.get(server=installed).remark == ""


def test_what_is_too_deep_to_be_counted_and_too_much_to_be_listed_goes_with_everything(
    installed: Server, alice: User, bob: User, make_deep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "MOST_LISTED", 50)
    upper = get_runtime().upper(installed.name)
    (upper / "saves").mkdir(parents=True)
    make_deep(upper / "saves", 1000, letters=250)
    for number in range(80):
        (upper / str(number)).touch()
    work.measure(Run(0), installed)
    run(services.look_at_files(by=alice, server=installed))
    assert "30 more are not listed." in FileLook.objects.get(server=installed).remark
    told = f"(folders of “{installed.name}” are too deep or too many to be counted, which counts as a terabyte)"
    with pytest.raises(DiskLimit) as refusal:
        services.start_server(by=alice, server=installed)
    assert told in str(refusal.value)
    assert "revert everything, also what it added" in str(refusal.value)
    alice.refresh_from_db()
    assert told in last_known(alice, reader=alice).sentence
    told_bob = last_known(alice, reader=bob).sentence
    assert "folders of a server are too deep" in told_bob, "others may not know it"
    assert installed.name not in told_bob
    with pytest.raises(NothingToRevert, match="Choose everything to delete also what it added"):
        services.revert_files(by=alice, server=installed)

    run(services.revert_everything(by=alice, server=installed))
    installed.refresh_from_db()
    assert (installed.disk_bytes, installed.disk_is_cut) == (0, False)
    assert not installed.file_changes.exists()
    assert FileLook.objects.get(server=installed).remark == ""
    alice.refresh_from_db()
    assert last_known(alice, reader=alice).sentence == ""
    start(installed)
    assert printed(installed)[0] == "a.cfg has ['one', 'two']"
