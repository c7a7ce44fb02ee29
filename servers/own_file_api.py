"""Config files that members write by hand for a server, in the HTTP API; named by their path below the game's files."""

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from ninja import Path, Query, Router, Schema, Status
from pydantic import Field

from jobs.api_pages import Cursor, Limit, Page, page
from jobs.pages import member
from servers import services
from servers.api import Name, server_for
from servers.models import Right, ServerFile

router = Router(tags=["files"])

FilePath = Annotated[str, Path(max_length=300, description="Below the top of the game's files, such as `server.cfg`.")]
Was = Annotated[
    str | None,
    Query(max_length=64, description="The `version` you saw, empty for none: 409 when it is another by now."),
]


class OwnFileRow(Schema):
    """A file, or lines that go after those which the settings make of it."""

    path: str
    version: str = Field(description="Another one when the text is another.")
    updated_at: datetime
    updated_by: str | None = Field(None, alias="updated_by.username")


class OwnFileOut(OwnFileRow):
    """The same with its text."""

    text: str


class OwnFileIn(Schema):
    """The whole text; 64 KB at most, and plain ASCII where the game reads nothing else."""

    text: str


@router.get("/servers/{name}/own-files", response=Page[OwnFileRow], summary="List files by hand")
def list_own_files(request: HttpRequest, name: Name, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """Needs the right to its files, as all of these do."""
    files = server_for(request, name, Right.FILES).own_files.select_related("updated_by")
    return page(files, by="pk", cursor=cursor, limit=limit)


@router.get("/servers/{name}/own-files/{path:path}", response=OwnFileOut, summary="Read a file by hand")
def read_own_file(request: HttpRequest, name: Name, path: FilePath) -> ServerFile:
    """What was written by hand alone."""
    files = server_for(request, name, Right.FILES).own_files.select_related("updated_by")
    file = files.filter(path=path).first() if path.isprintable() else None
    if file is None:
        raise Http404("The server has no file of that name by hand.")
    return file


@router.put("/servers/{name}/own-files/{path:path}", response=OwnFileOut, summary="Write a file by hand")
def write_own_file(request: HttpRequest, name: Name, path: FilePath, given: OwnFileIn, was: Was = None) -> ServerFile:
    """It holds from the next start. Where a game takes files its definition says."""
    server = server_for(request, name, Right.FILES)
    return services.write_own_file(by=member(request), server=server, path=path, text=given.text, was=was)


@router.delete("/servers/{name}/own-files/{path:path}", response={204: None}, summary="Delete a file by hand")
def delete_own_file(request: HttpRequest, name: Name, path: FilePath, was: Was = None) -> Status[None]:
    """From the next start it is gone. Harmless when there is none."""
    server = server_for(request, name, Right.FILES)
    if path.isprintable():
        services.delete_own_file(by=member(request), server=server, path=path, was=was)
    return Status(204, None)
