"""What a server changed in its files, in the HTTP API; paths are relative to the top of the game's files."""

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field, StrictBool, ValidationInfo, field_validator

from jobs.api_pages import Cursor, Limit, Page, page
from jobs.pages import member
from servers import access, services
from servers.api import ACCEPTED, Name, server_for
from servers.models import FileChange, FileLook, Right
from servers.provenance import below
from servers.services.file_changes import MOST_NAMED

router = Router(tags=["files"])

FilePath = Annotated[str, Field(max_length=1000)]


class ChangeOut(Schema):
    """A file, or a folder, that is not as the layers below have it."""

    path: str
    kind: str = Field(alias="get_kind_display", description="As `FileChange.Kind` has it: changed, deleted, added…")
    size: int = Field(alias="size_bytes", description="Bytes; 0 for what was deleted.")
    below: str = Field(description="The layer that supplies it otherwise; empty for what was added.")
    below_size: int | None = Field(alias="below_bytes")
    hides: int = Field(description="Files of a folder below that the game cannot see.")
    changed_at: datetime | None
    remark: str = Field(description="Why there is no diff; often empty.")


class ChangesOut(Page[ChangeOut]):
    """One page of them; `looked_at` is when they were last looked for, null for never."""

    looked_at: datetime | None


class DiffOut(ChangeOut):
    """One of them with its diff."""

    diff: str = Field(description="Unified, without its head; empty where there is none.")


class PathsIn(Schema):
    """Which: paths as listed, or null for all that cover a file of a layer."""

    paths: list[FilePath] | None = Field(None, min_length=1, max_length=MOST_NAMED)


class RevertIn(PathsIn):
    """Which, as above, or everything."""

    everything: StrictBool = Field(
        False,
        description="Delete all that the server itself wrote, whether it is listed or not: what it added too, such as "
        "saves, logs and plugins' data. Nobody can bring that back. Takes no `paths`.",
    )

    @field_validator("everything")
    @classmethod
    def _alone(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("paths"):
            raise ValueError("Give either paths or everything")
        return value


class RevertOut(Schema):
    """The job that does it; null: it is done at the server's next start."""

    job: int | None


@router.get("/servers/{name}/changes", response=ChangesOut, summary="List what a server changed")
def list_changes(request: HttpRequest, name: Name, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """As the last look found it. Needs the right to its files, as all of these do."""
    server = server_for(request, name, Right.FILES)
    look = FileLook.objects.filter(server=server).first()
    found = page(server.file_changes.defer("diff"), by="pk", cursor=cursor, limit=limit)
    return found | {"looked_at": look.at if look else None}


@router.get("/servers/{name}/changes/diff", response=DiffOut, summary="Read one change")
def read_change(request: HttpRequest, name: Name, path: Annotated[str, Query(max_length=1000)]) -> FileChange:
    """With its diff against the layer below, without the server's secrets. One against a file that the settings make
    needs the right to those too."""
    server = server_for(request, name, Right.FILES)
    change = server.file_changes.filter(path=path).first() if path.isprintable() else None
    if change is None:
        raise Http404("The server has not changed that, as far as is known.")
    return below.for_reader(change, access.rights(member(request), server))


@router.post("/servers/{name}/changes/look", response=ACCEPTED, summary="Look for changes")
def look(request: HttpRequest, name: Name) -> Status[dict[str, int]]:
    """Each stop does so too."""
    server = server_for(request, name, Right.FILES)
    return Status(202, {"job": services.look_at_files(by=member(request), server=server).pk})


@router.post("/servers/{name}/changes/revert", response={202: RevertOut}, summary="Revert changes")
def revert(request: HttpRequest, name: Name, which: RevertIn) -> Status[dict[str, int | None]]:
    """The layers below show again there; what was only added is deleted when it is named, or with `everything`."""
    server = server_for(request, name, Right.FILES)
    if which.everything:
        job = services.revert_everything(by=member(request), server=server)
    else:
        job = services.revert_files(by=member(request), server=server, paths=_known(which))
    return Status(202, {"job": job.pk if job else None})


@router.post("/servers/{name}/changes/keep", response={204: None}, summary="Call off reverts")
def keep(request: HttpRequest, name: Name, which: PathsIn) -> Status[None]:
    """Of what waits for the next start."""
    services.keep_files(by=member(request), server=server_for(request, name, Right.FILES), paths=_known(which))
    return Status(204, None)


def _known(which: PathsIn) -> list[str] | None:
    """Without those that no file can have: the database takes no such text."""
    return which.paths and [path if path.isprintable() else "" for path in which.paths]
