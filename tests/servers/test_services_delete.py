"""Deleting frees name and ports at once and keeps the files for a week; restoring undoes it; purging ends it."""

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Job, Line, Stream
from jobs.registry import JobError
from jobs.run import Run
from jobs.streams import append
from servers import services, tasks
from servers.access import FeedPolicy
from servers.errors import CannotRestore, NameTaken
from servers.models import KEEP_DELETED, AuditEvent, Server
from servers.runtime import deleting, get_runtime
from servers.runtime.deleting import delete_tree
from tests.api import Api


def finish_deletion(server, ago=timedelta(0)):
    """As the job does when it is done."""
    Job.objects.filter(subject=server.topic).update(state="succeeded", finished_at=timezone.now())
    services.finish_put_away(server=server, at=timezone.now() - ago)


def test_name_and_ports_are_free_at_once(alice, bob, server, blueprint):
    job = services.delete_server(by=alice, server=server)
    assert (job.kind, job.title) == ("servers.delete", "Delete alices-practice")
    again = services.create_server(by=bob, name=server.name, blueprint=blueprint)
    assert again.ports.get().number == 27015
    assert list(Server.objects.present()) == [again]


def test_what_was_asked_before_is_cancelled(alice, server):
    start = services.start_server(by=alice, server=server)
    services.delete_server(by=alice, server=server)
    server.refresh_from_db()
    assert server.desired == "stop"
    assert Job.objects.get(pk=start.pk).state == "cancelled"


def test_restored_it_is_stopped_and_has_ports(alice, mod, server):
    services.delete_server(by=alice, server=server)
    finish_deletion(server)
    job = services.restore_server(by=mod, server=server)
    server.refresh_from_db()
    assert (job.kind, server.deleted_at, server.desired, server.owner) == ("servers.restore", None, "stop", alice)
    assert server.ports.get().number == 27015


def test_restored_it_gets_other_ports_where_its_own_are_taken(alice, mod, server, blueprint):
    services.delete_server(by=alice, server=server)
    finish_deletion(server)
    services.create_server(by=alice, name="newcomer", blueprint=blueprint)
    services.restore_server(by=mod, server=server)
    assert server.ports.get().number == 27016


def test_it_cannot_be_restored_while_another_has_its_name(alice, mod, server, blueprint):
    services.delete_server(by=alice, server=server)
    finish_deletion(server)
    newcomer = services.create_server(by=alice, name=server.name, blueprint=blueprint)
    with pytest.raises(NameTaken):
        services.restore_server(by=mod, server=server)
    server.refresh_from_db()
    assert server.deleted_at
    services.delete_server(by=alice, server=newcomer)
    services.restore_server(by=mod, server=server)


def test_only_a_deleted_server_whose_deletion_is_done_is_restored(alice, mod, server):
    with pytest.raises(CannotRestore, match="not deleted"):
        services.restore_server(by=mod, server=server)
    services.delete_server(by=alice, server=server)
    with pytest.raises(CannotRestore, match="still being deleted"):
        services.restore_server(by=mod, server=server)


def test_after_a_week_everything_is_forgotten_but_who_did_it(alice, server, node):
    append(server.console_id, ["hello"])
    services.delete_server(by=alice, server=server)
    finish_deletion(server, ago=KEEP_DELETED - timedelta(minutes=5))
    assert services.request_purge(node=node) is None
    assert services.outlived(node.slug) == []
    assert not services.purge_server(server=server)
    finish_deletion(server, ago=KEEP_DELETED + timedelta(minutes=5))
    job = services.request_purge(node=node)
    assert (job.kind, job.args, services.request_purge(node=node)) == ("servers.purge", {"node": node.slug}, job)
    assert services.outlived(node.slug) == [server]
    assert services.purge_server(server=server)
    assert not Server.objects.exists()
    assert not Line.objects.exists()
    assert not Stream.objects.filter(pk=server.console_id).exists()
    assert AuditEvent.objects.get().detail["name"] == server.name


def test_a_server_that_was_not_put_aside_yet_is_not_forgotten(alice, server, node):
    services.delete_server(by=alice, server=server)
    Server.objects.update(deleted_at=timezone.now() - 2 * KEEP_DELETED)
    assert services.outlived(node.slug) == []
    assert not services.purge_server(server=server)


@pytest.fixture
def trash(settings, tmp_path):
    settings.STATE_DIR = tmp_path
    get_runtime.cache_clear()
    yield tmp_path / "runtime" / ".trash"
    get_runtime.cache_clear()


def put_away(server, trash, ago=KEEP_DELETED + timedelta(minutes=5)):
    """Deleted and aside since then, with a folder; returns it."""
    services.delete_server(by=server.owner, server=server)
    finish_deletion(server, ago=ago)
    folder = trash / f"{server.name}.server-{server.pk}" / "upper"
    folder.mkdir(parents=True)
    return folder


def test_folders_without_end_are_deleted_for_good_and_hold_up_nobodys(alice, server, blueprint, node, trash, make_deep):
    other = services.create_server(by=alice, name="other", blueprint=blueprint)
    kept = services.create_server(by=alice, name="kept", blueprint=blueprint)
    make_deep(put_away(server, trash), 3000)
    put_away(other, trash)
    remaining = put_away(kept, trash, ago=timedelta(days=1))
    tasks.purge(Run(services.request_purge(node=node).pk), node=node.slug)
    assert list(Server.objects.all()) == [kept]
    assert list(trash.iterdir()) == [remaining.parent]
    make_deep(remaining, 3000)
    tasks.forget(Run(services.delete_for_good(by=alice, server=kept).pk), server=kept.pk)
    assert not Server.objects.exists()
    assert not list(trash.iterdir())


def test_a_folder_that_cannot_be_deleted_keeps_its_own_row_alone(alice, server, blueprint, node, trash, monkeypatch):
    other = services.create_server(by=alice, name="other", blueprint=blueprint)
    stays = put_away(server, trash)
    put_away(other, trash)
    unlink = os.unlink

    def refuse(name, **where):  # as an immutable file does, which no test may make everywhere
        if name == "stays":
            raise PermissionError(1, "Operation not permitted")
        unlink(name, **where)

    (stays / "stays").touch()
    (stays / "goes").touch()
    monkeypatch.setattr(os, "unlink", refuse)
    run = Run(services.request_purge(node=node).pk)
    with pytest.raises(JobError, match=f"{server.name}.*Ask an admin|{server.name}. The lines above"):
        tasks.purge(run, node=node.slug)
    assert any(f"Some files of {server.name} could not be deleted" in text for _, text in run.buffer)
    assert list(Server.objects.all()) == [server]
    with pytest.raises(JobError, match="so they still count"):
        tasks.forget(Run(services.delete_for_good(by=alice, server=server).pk), server=server.pk)
    monkeypatch.undo()
    assert len(list(trash.rglob("*"))) == 3, "the folder of the server, one in it and the file"
    tasks.purge(Run(services.request_purge(node=node).pk), node=node.slug)
    assert not Server.objects.exists()


class Killed(BaseException):
    """As SIGKILL is: no handler sees it."""


@pytest.fixture
def kill(monkeypatch):
    """`kill(at)` has the process end at the deletion of a file of that name; `undo` is its next start."""

    def at(name):
        unlink = os.unlink

        def killing(path, **where):
            if path == name:
                raise Killed
            unlink(path, **where)

        monkeypatch.setattr(os, "unlink", killing)
        return monkeypatch

    return at


def test_what_a_killed_deletion_for_good_left_is_not_restored_and_goes_with_the_next_purge(
    alice, mod, server, node, trash, kill
):
    folder = put_away(server, trash, ago=timedelta(days=1))
    (folder / "file").touch()
    job = services.delete_for_good(by=alice, server=server)
    killed = kill("file")
    with pytest.raises(Killed):
        tasks.forget(Run(job.pk), server=server.pk)
    killed.undo()
    with pytest.raises(CannotRestore, match="deleted for good"):
        services.restore_server(by=mod, server=server)
    get_runtime().restore(server.name, f"server-{server.pk}")
    assert not get_runtime().upper(server.name).exists(), "half of its files are not brought back"
    tasks.purge(Run(services.request_purge(node=node).pk), node=node.slug)
    assert not Server.objects.exists()
    assert not list(trash.iterdir())


def test_what_a_killed_purge_left_of_a_folder_without_a_row_goes_with_the_next(trash, kill, node):
    folder = trash / "nobodys.server-7"
    (folder / "upper" / "in").mkdir(parents=True)
    (folder / "upper" / "in" / "file").touch()
    long_ago = timezone.now().timestamp() - KEEP_DELETED.total_seconds() - 60
    os.utime(folder, (long_ago, long_ago))
    killed = kill("file")
    with pytest.raises(Killed):
        get_runtime().purge(KEEP_DELETED)
    killed.undo()
    assert list(trash.rglob("file"))
    assert get_runtime().purge(KEEP_DELETED) == 1
    assert not list(trash.iterdir())


def test_a_server_that_was_restored_meanwhile_is_not_forgotten(alice, mod, server, trash):
    folder = put_away(server, trash, ago=timedelta(days=1))
    job = services.delete_for_good(by=alice, server=server)
    services.restore_server(by=mod, server=server)
    with pytest.raises(JobError, match="is not deleted"):
        tasks.forget(Run(job.pk), server=server.pk)
    assert folder.exists()


def test_a_tree_that_another_deletes_too_is_gone_and_no_failure(tmp_path, make_deep, monkeypatch):
    """A purge may come to a server that a job of its own deletes."""
    for name in ("a", "b"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        make_deep(tmp_path / "tree" / name, 20, beside="side")
    opened, deletes = deleting._open, []

    def open_late(folder, name):
        if len(deletes) < 20:
            deletes.append(name)
            if len(deletes) == 20:
                delete_tree(tmp_path / "tree")
        return opened(folder, name)

    monkeypatch.setattr(deleting, "_open", open_late)
    delete_tree(tmp_path / "tree")
    assert len(deletes) == 20
    assert not (tmp_path / "tree").exists()


def test_wide_and_deep_trees_are_deleted_and_what_links_lead_to_stays(tmp_path, make_deep):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    tree = tmp_path / "tree"
    for number in range(1500):
        (tree / f"{number}" / "in" / "in").mkdir(parents=True)
        (tree / f"{number}" / "in" / "link").symlink_to(tmp_path / "other")
    for start in ("0/in", "7/in"):
        make_deep(tree / start, 500, beside="file")
    (tree / "1" / "in").chmod(0)
    before = len(os.listdir("/proc/self/fd"))
    delete_tree(tree)
    delete_tree(tree)
    delete_tree(tmp_path / "no" / "tree")
    assert [path.name for path in tmp_path.rglob("*")] == ["other", "file"]
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_owner_is_told_why_a_deletion_failed_and_has_no_power_over_it(
    alice, bob, charlie, mod, server, share, client
):
    share(bob)
    api = {user: Api(user) for user in (alice, bob, charlie, mod)}
    job = Job.objects.get(pk=api[alice]("delete", f"/servers/{server.name}", None).json()["job"])
    assert [f"job:{job.pk}" in FeedPolicy.topics(user) for user in (alice, bob, charlie, mod)] == [
        True,
        False,
        False,
        True,
    ]
    assert [FeedPolicy.may_view_stream(user, job.stream_id) for user in (alice, bob, charlie)] == [True, False, False]
    assert FeedPolicy.may_view_stream(alice, server.console_id) is False
    assert api[alice]("post", f"/jobs/{job.pk}/cancel", None).status_code == 403
    Job.objects.filter(pk=job.pk).update(state="failed", error="The disk is full.", finished_at=timezone.now())
    for user, status in ((alice, 200), (bob, 404), (charlie, 404), (mod, 200)):
        client.force_login(user)
        pages = [client.get(f"/jobs/{job.pk}/"), client.get(f"/streams/{job.stream_id}/lines/")]
        told = [api[user]("get", f"/jobs/{job.pk}", None), api[user]("get", f"/streams/{job.stream_id}/lines", None)]
        assert [answer.status_code for answer in (*pages, *told)] == [status] * 4, user
        assert (b"The disk is full." in pages[0].content) == (status == 200)
        assert told[0].json().get("error", "") == ("The disk is full." if status == 200 else "")
    assert api[alice]("post", f"/jobs/{job.pk}/retry", None).status_code == 403
