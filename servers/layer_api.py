"""Layers and stacks in the HTTP API; layers are named by `slug`, stacks are lists of them, uppermost first."""

from datetime import datetime
from typing import Annotated, Any

from django.http import Http404, HttpRequest
from ninja import Path, Router, Schema, Status
from pydantic import Field

from jobs.api import JobRef
from jobs.api_pages import Cursor, FieldError, Limit, Page, page
from jobs.pages import member
from servers import access, services
from servers.api import Name, server_for
from servers.models import Layer, Right
from servers.own_file_api import Was

router = Router()

Slug = Annotated[str, Path(max_length=63, description="The layer's slug.")]


class LayerOut(Schema):
    """A layer; what its build holds is null until there is one."""

    slug: str
    name: str
    game: str
    kind: str = Field(description="archive, workshop, files or script.")
    visibility: str
    owner: str = Field(alias="owner.username")
    digest: str | None = Field(None, alias="build.digest")
    size: int | None = Field(None, alias="build.size_bytes", description="Bytes.")
    files: int | None = Field(None, alias="build.file_count")
    maps: list[str] | None = Field(None, alias="build.maps")
    built_at: datetime | None = Field(None, alias="build.created_at")


class Stack(Schema):
    """Layers by slug, uppermost first."""

    layers: list[Annotated[str, Field(max_length=63, pattern=r"^[-a-zA-Z0-9_]+$")]] = Field(max_length=100)


@router.get("/layers", response=Page[LayerOut], tags=["layers"], summary="List layers")
def list_layers(request: HttpRequest, cursor: Cursor, limit: Limit) -> dict[str, Any]:
    """The layers you may use, by slug."""
    usable = Layer.objects.usable_by(member(request)).select_related("owner", "build")
    return page(usable, by="slug", cursor=cursor, limit=limit)


@router.get("/layers/{slug}", response=LayerOut, tags=["layers"], summary="Read a layer")
def read_layer(request: HttpRequest, slug: Slug) -> Layer:
    """A layer you may use."""
    return _layer(request, slug)


@router.post("/layers/{slug}/build", response={202: JobRef}, tags=["layers"], summary="Build a layer again")
def build_layer(request: HttpRequest, slug: Slug) -> Status[dict[str, int]]:
    """From what its source says now; for its owner. An archive is built from an upload on its page."""
    layer = _layer(request, slug)
    access.require_layer_change(member(request), layer)
    return Status(202, {"job": services.build_layer(by=member(request), layer=layer).pk})


class StackOut(Stack):
    """The same as it is now."""

    version: str = Field(description="Another one when the layers, their order or the slots are others.")


@router.get("/servers/{name}/layers", response=StackOut, tags=["layers"], summary="Read a server's layers")
def read_stack(request: HttpRequest, name: Name) -> dict[str, Any]:
    """Needs the right to its files."""
    entries = list(server_for(request, name, Right.FILES).stack.select_related("layer"))
    layers = [entry.layer.slug for entry in entries if entry.layer]
    return {"layers": layers, "version": services.stack_version(entries)}


@router.put("/servers/{name}/layers", response=StackOut, tags=["layers"], summary="Set a server's layers")
def set_stack(request: HttpRequest, name: Name, given: Stack, was: Was = None) -> dict[str, Any]:
    """Exactly these, from its next start; slots that are still empty go. Layers that are on it already may stay
    whoever's they are."""
    server = server_for(request, name, Right.FILES)
    usable = Layer.objects.usable_by(member(request)).filter(slug__in=given.layers)
    kept = Layer.objects.filter(slug__in=given.layers, entries__server=server)
    known = {layer.slug: layer for layer in [*usable, *kept]}
    if (missing := next((slug for slug in given.layers if slug not in known), None)) is not None:
        raise FieldError("layers", f"There is no layer “{missing}”. `GET /layers` lists them.")
    layers = [known[slug] for slug in given.layers]
    services.replace_stack(by=member(request), holder=server, layers=layers, was=was)
    return read_stack(request, name)


def _layer(request: HttpRequest, slug: str) -> Layer:
    usable = Layer.objects.usable_by(member(request)).select_related("owner", "build")
    layer = usable.filter(slug=slug).first() if slug.isprintable() else None
    if layer is None:
        raise Http404("There is no such layer.")
    return layer
