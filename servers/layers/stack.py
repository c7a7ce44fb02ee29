"""Reads of a stack: what is mounted at the next start, and what its layers do to each other."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, F, QuerySet

from servers.errors import LayerInvalid, SlotEmpty
from servers.models import Blueprint, Layer, LayerBuild, LayerFile, Server, StackEntry

PARTIAL = ".partial-"
MOST_CONFLICTS = 100  # shown
REMEMBERED = 7 * 86400  # seconds; builds never change, so it holds as long as anybody asks
_PLAIN_MAP = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True)
class Conflict:
    """A file that several supply: `sources` are build and add-on (or none), uppermost first."""

    path: str
    sources: list[tuple[int, str]]


@dataclass(frozen=True)
class Analysis:
    """What a stack brings, and what its layers do to each other."""

    conflicts: list[Conflict]
    total: int
    campaigns: list[dict[str, Any]]
    maps: list[str]


def analyse(builds: Sequence[LayerBuild]) -> Analysis:
    """`builds`: uppermost first. Computed once for each stack of builds."""
    key = "stack:" + hashlib.sha256(",".join(str(build.pk) for build in builds).encode()).hexdigest()
    found: Analysis | None = cache.get(key)
    if found is None:
        cache.set(key, found := _analyse(builds), REMEMBERED)
    return found


def _analyse(builds: Sequence[LayerBuild]) -> Analysis:
    place = {build.pk: number for number, build in enumerate(builds)}
    supplied = LayerFile.objects.filter(build__in=place)
    twice = supplied.values("path").annotate(times=Count("pk")).filter(times__gt=1).order_by("path")
    paths = [row["path"] for row in twice[:MOST_CONFLICTS]]
    sources: dict[str, list[tuple[int, str]]] = {path: [] for path in paths}
    for path, build, addon in supplied.filter(path__in=paths).values_list("path", "build", "addon"):
        sources[path].append((build, addon))
    for known in sources.values():
        known.sort(key=lambda source: (place[source[0]], source[1]))
    campaigns = [campaign for build in builds for campaign in build.campaigns]
    maps = sorted({name for build in builds for name in build.maps})
    return Analysis([Conflict(*item) for item in sources.items()], twice.count(), campaigns, maps)


def folder(digest: str) -> Path:
    """Where a build's files lie on its node."""
    return Path(settings.STATE_DIR) / "layers" / digest


def digests_here() -> list[str]:
    """Builds whose files are on this machine."""
    place = Path(settings.STATE_DIR) / "layers"
    return [path.name for path in place.glob("[0-9a-f]*")] if place.is_dir() else []


def partial_folder(layer: int) -> Path:
    """Where the files of a layer are while it is built."""
    return Path(settings.STATE_DIR) / "layers" / f"{PARTIAL}{layer}"


def partials_here() -> dict[Path, int]:
    """Such folders, and those beside them in which files are moved, each with its layer: a killed build leaves them."""
    place = Path(settings.STATE_DIR) / "layers"
    found = place.glob(f"{PARTIAL}[0-9]*") if place.is_dir() else []
    return {path: int(path.name.removeprefix(PARTIAL).partition(".")[0]) for path in found}


def entries(holder: Server | Blueprint) -> QuerySet[StackEntry]:
    """The stack, uppermost first, with layers and their builds. A slot may be empty."""
    return holder.stack.select_related("layer__build", "layer__owner")


def layers(holder: Server | Blueprint) -> list[Layer]:
    """Those of the stack, uppermost first, with their builds."""
    return [entry.layer for entry in entries(holder) if entry.layer]


def maps(holder: Server | Blueprint, *, mounted: bool = False) -> list[str]:
    """The maps that the add-ons of the stack bring, with `mounted` of what a server was started with. Their names come
    from hostile packages: one that is no plain word is left out."""
    if mounted and isinstance(holder, Server):
        found = LayerBuild.objects.filter(digest__in=holder.mounted)
    else:
        found = LayerBuild.objects.filter(layer__build=F("pk"), layer__entries__in=holder.stack.all())
    names = {name for build in found.values_list("maps", flat=True) for name in build}
    return sorted(name for name in names if _PLAIN_MAP.fullmatch(name))


def require_slots_filled(server: Server) -> None:
    """Raise `SlotEmpty` when the server has slots that must be filled before it starts, and are not."""
    empty = server.stack.filter(layer=None, is_required=True)
    if labels := list(empty.values_list("slot", flat=True)):
        raise SlotEmpty(server.name, labels)


def for_start(server: Server) -> tuple[Path, ...]:
    """Folders of the layers' newest builds, lowest first. Raises `LayerInvalid` for one not there, `SlotEmpty`."""
    require_slots_filled(server)
    found = []
    for layer in reversed(layers(server)):
        if not layer.build:
            raise LayerInvalid(f"The layer {layer.name} was not built yet. Wait for it, or take it off the stack.")
        if not folder(layer.build.digest).is_dir():
            raise LayerInvalid(f"The files of the layer {layer.name} are missing here. Build it again.")
        found.append(folder(layer.build.digest))
    return tuple(found)
