"""A server's own files as the last look found them, and what of it is to be undone.

Overlayfs must not be changed from behind, so what is asked for while the server runs waits for its next start.
"""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from jobs import events
from jobs.models import Job
from jobs.services import enqueue
from servers.errors import NothingToRevert
from servers.models import FileChange, FileLook, FileRevert, Installation, InstallationFile, Server
from servers.runtime.base import EVERYTHING
from servers.services.common import locked, record

if TYPE_CHECKING:
    from portal.models import User

LOOK, REVERT = "servers.look_at_files", "servers.revert_files"
BATCH = 2000  # rows in one statement
MOST_NAMED = 200  # paths that one call may give
KINDS_OF_ALL = (FileChange.Kind.CHANGED, FileChange.Kind.DELETED, FileChange.Kind.RENEWED, FileChange.Kind.SAME)


def look_at_files(*, by: "User", server: Server) -> Job:
    """Ask for a look at what the server itself has changed. Raises `ServerGone`."""
    with locked(server) as fresh:
        return _enqueue(fresh, LOOK, f"Look at the files of {fresh.name}", by=by)


def revert_files(*, by: "User", server: Server, paths: Collection[str] | None = None) -> Job | None:
    """Have the layers below show again in these places, or with `None` wherever they are covered; what was only added
    is deleted when it is named. At the next start, and then no job is returned, while the server runs.

    Raises `NothingToRevert` when the server did nothing there, `ServerGone`.
    """
    with locked(server) as fresh:
        changes = fresh.file_changes.filter(kind__in=KINDS_OF_ALL)
        if paths is not None:
            changes = fresh.file_changes.filter(path__in=paths)
        asked = [
            FileRevert(server=fresh, path=change.path, is_whole=change.is_whole, by=by)
            for change in changes.defer("diff")
        ]
        if not asked or (paths is not None and len(asked) < len(set(paths))):
            raise NothingToRevert(fresh.name, is_all=paths is None)
        FileRevert.objects.bulk_create(asked, batch_size=BATCH, ignore_conflicts=True)
        job = None if fresh.is_live else _enqueue(fresh, REVERT, f"Revert files of {fresh.name}", by=by)
        named = sorted(paths)[:5] if paths is not None else []
        record(by, fresh, "revert files", files=len(asked), paths=named, job=job.pk if job else None)
    return job


def revert_everything(*, by: "User", server: Server) -> Job | None:
    """Have all that the server itself wrote deleted, whether it was found or not: its tree is as the layers have it. At
    the next start, and then no job is returned, while the server runs. Raises `ServerGone`.
    """
    with locked(server) as fresh:
        FileRevert.objects.bulk_create([FileRevert(server=fresh, path=EVERYTHING, by=by)], ignore_conflicts=True)
        job = None if fresh.is_live else _enqueue(fresh, REVERT, f"Revert all files of {fresh.name}", by=by)
        record(by, fresh, "revert everything", job=job.pk if job else None)
    return job


def keep_files(*, by: "User", server: Server, paths: Collection[str] | None = None) -> None:
    """Call off what waits to be reverted there, or with `None` everywhere. Raises `ServerGone`."""
    with locked(server) as fresh:
        waiting = fresh.file_reverts.all() if paths is None else fresh.file_reverts.filter(path__in=paths)
        if count := waiting.delete()[0]:
            record(by, fresh, "keep files", files=count, paths=sorted(paths or ())[:5])


def record_look(*, server: Server, over: str, remark: str, changes: Iterable[FileChange]) -> None:
    """The job's: what it found takes the place of what was known."""
    with transaction.atomic():
        FileLook.objects.update_or_create(
            server=server, defaults={"at": timezone.now(), "over": over, "remark": remark[:300]}
        )
        FileChange.objects.filter(server=server).delete()
        FileChange.objects.bulk_create(changes, batch_size=BATCH)
        events.publish(server.topic)


def finish_reverts(*, server: Server, paths: Collection[str]) -> None:
    """The job's: these are as the layers below have them."""
    with transaction.atomic():
        reverts, changes = FileRevert.objects.filter(server=server), FileChange.objects.filter(server=server)
        if EVERYTHING in paths:
            FileLook.objects.filter(server=server).update(remark="")
        else:
            reverts, changes = reverts.filter(path__in=paths), changes.filter(path__in=paths)
        reverts.delete()
        changes.delete()
        events.publish(server.topic)


def record_installation_files(*, installation: Installation, files: Iterable[tuple[str, int]]) -> None:
    """List a version's files, path and bytes. It never changes, so two who list it at once write the same.

    In short transactions: each holds the version's row, which a start needs.
    """
    rows = (InstallationFile(installation=installation, path=path, size_bytes=size) for path, size in files)
    count = 0
    while batch := list(islice(rows, BATCH)):
        InstallationFile.objects.bulk_create(batch, ignore_conflicts=True)
        count += len(batch)
    Installation.objects.filter(pk=installation.pk).update(file_count=count)


def _enqueue(server: Server, kind: str, title: str, *, by: "User") -> Job:
    return enqueue(
        kind=kind,
        subject=server.topic,
        title=title,
        args={"server": server.pk},
        node=server.node.slug,
        requested_by=by,
        coalesce=True,
        join=Job.ACTIVE if kind == LOOK else (),  # what is to be reverted is in no argument
    )
