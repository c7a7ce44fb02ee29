"""Reads of a stack: what is mounted at the next start, and what its layers do to each other."""

from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from servers.errors import LayerInvalid
from servers.models import Blueprint, Server, StackEntry


def folder(digest: str) -> Path:
    """Where a build's files lie on its node."""
    return Path(settings.STATE_DIR) / "layers" / digest


def digests_here() -> list[str]:
    """Builds whose files are on this machine."""
    place = Path(settings.STATE_DIR) / "layers"
    return [path.name for path in place.glob("[0-9a-f]*")] if place.is_dir() else []


def entries(holder: Server | Blueprint) -> QuerySet[StackEntry]:
    """The stack, uppermost first, with layers and their builds."""
    return holder.stack.select_related("layer__build", "layer__owner")


def for_start(server: Server) -> tuple[Path, ...]:
    """Folders of the layers' newest builds, lowest first. Raises `LayerInvalid` for one that is not there."""
    found = []
    for entry in reversed(entries(server)):
        build = entry.layer.build
        if not build:
            raise LayerInvalid(
                f"The layer {entry.layer.name} was not built yet. Wait for it, or take it off the stack."
            )
        if not folder(build.digest).is_dir():
            raise LayerInvalid(f"The files of the layer {entry.layer.name} are missing here. Build it again.")
        found.append(folder(build.digest))
    return tuple(found)
