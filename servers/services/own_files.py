"""Config files written by hand: stored, deleted and copied. `servers.own_files` says what fits; a start writes them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.utils import timezone

from servers import games, own_files
from servers.errors import FileChanged, FileInvalid
from servers.models import Server, ServerFile
from servers.services.common import locked, record

if TYPE_CHECKING:
    from portal.models import User

MOST_FILES = 64  # of one server


def write_own_file(*, by: "User", server: Server, path: str, text: str, was: str | None) -> ServerFile:
    """Write a file, or the lines after a generated one; the next start takes it. `was`: the version that was seen, ""
    for none, None to replace whatever is there.

    Raises `FileInvalid`, `FileChanged`, `ServerGone`, `UnknownGame`.
    """
    game, text = games.get(server.game), text.replace("\r\n", "\n")
    if problem := own_files.check_path(game, path):
        raise FileInvalid("path", [problem])
    if problems := own_files.problems(game, path, text):
        raise FileInvalid("text", problems)
    with locked(server) as fresh:
        current = _unless_changed(fresh, path, was)
        if current is None:
            _refuse_another(fresh, path)
        values = {"text": text, "updated_at": timezone.now(), "updated_by": by, "is_started": False}
        file, _ = ServerFile.objects.update_or_create(server=fresh, path=path, defaults=values)
        record(by, fresh, "write file", path=path)
    return file


def delete_own_file(*, by: "User", server: Server, path: str, was: str | None) -> None:
    """Forget what was written by hand there; harmless when nothing is. Raises `FileChanged`, `ServerGone`."""
    with locked(server) as fresh:
        if current := _unless_changed(fresh, path, was):
            current.delete()
            record(by, fresh, "delete file", path=path)


def copy_own_files(*, source: Server, server: Server) -> None:
    """Give a new server those of another."""
    ServerFile.objects.bulk_create(
        ServerFile(server=server, path=file.path, text=file.text, updated_at=file.updated_at, updated_by=server.owner)
        for file in source.own_files.all()
    )


def record_started_files(*, server: Server, files: Iterable[ServerFile]) -> None:
    """The job's: it is about to be started with these, as they were read."""
    ServerFile.objects.filter(server=server).update(is_started=False)
    for file in files:
        ServerFile.objects.filter(pk=file.pk, updated_at=file.updated_at).update(is_started=True)


def _unless_changed(server: Server, path: str, was: str | None) -> ServerFile | None:
    current = ServerFile.objects.select_related("updated_by").filter(server=server, path=path).first()
    if was is not None and was != (current.version if current else ""):
        raise FileChanged(path, current)
    return current


def _refuse_another(server: Server, path: str) -> None:
    paths = list(server.own_files.values_list("path", flat=True))
    if len(paths) >= MOST_FILES:
        raise FileInvalid("path", [f"{server.name} has {MOST_FILES} files by hand, the most there may be. Delete one."])
    if clash := next((p for p in paths if p.startswith(f"{path}/") or path.startswith(f"{p}/")), None):
        raise FileInvalid("path", [f"{clash} is there already, and one of the two would have to be a folder."])
