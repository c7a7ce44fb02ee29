"""Deleting frees name and ports at once and keeps the files for a week; restoring undoes it; purging ends it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Job, Line, Stream
from jobs.streams import append
from servers import services
from servers.errors import CannotRestore, NameTaken
from servers.models import KEEP_DELETED, AuditEvent, Server


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
    assert services.purge_servers(node=node.slug) == 0
    finish_deletion(server, ago=KEEP_DELETED + timedelta(minutes=5))
    job = services.request_purge(node=node)
    assert (job.kind, job.args, services.request_purge(node=node)) == ("servers.purge", {"node": node.slug}, job)
    assert services.purge_servers(node=node.slug) == 1
    assert not Server.objects.exists()
    assert not Line.objects.exists()
    assert not Stream.objects.filter(pk=server.console_id).exists()
    assert AuditEvent.objects.get().detail["name"] == server.name


def test_a_server_that_was_not_put_aside_yet_is_not_forgotten(alice, server, node):
    services.delete_server(by=alice, server=server)
    Server.objects.update(deleted_at=timezone.now() - 2 * KEEP_DELETED)
    assert services.purge_servers(node=node.slug) == 0
