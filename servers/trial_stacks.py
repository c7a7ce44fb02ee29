"""Whether the add-ons in use survive a new version: the stacks of most servers are tried on it and on the present one,
and a plugin that runs there and not here keeps the new version from being promoted by itself."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from jobs.run import Run
from servers import services
from servers.games import Game
from servers.layers import stack
from servers.models import Installation, Layer, StackEntry
from servers.trial import TrialFailed, list_plugins

MOST_STACKS = 3
NAMED = 3  # of plugins, layers and servers in one sentence


@dataclass(frozen=True)
class UsedStack:
    """Layers over the game's files as some servers have them at their next start."""

    folders: tuple[Path, ...]  # lowest first
    layers: tuple[str, ...]  # their names, uppermost first
    servers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_listed(self.layers)} ({_listed(self.servers)})"


def stacks_in_use(version: Installation) -> list[UsedStack]:
    """Those of the game on that node, the ones of most servers first, `MOST_STACKS` at most."""
    entries = StackEntry.objects.filter(
        server__node=version.node, server__game=version.game, server__deleted_at=None, layer__isnull=False
    ).select_related("layer__build", "server")
    by_server: dict[str, list[Layer]] = defaultdict(list)
    for entry in entries.order_by("server__name", "position"):
        if entry.layer and entry.server:
            by_server[entry.server.name].append(entry.layer)
    used: dict[tuple[Path, ...], UsedStack] = {}
    for server, layers in by_server.items():
        folders = tuple(stack.folder(layer.build.digest) for layer in reversed(layers) if layer.build)
        if len(folders) == len(layers) and all(folder.is_dir() for folder in folders):
            known = used.get(folders)
            names = (*known.servers, server) if known else (server,)
            used[folders] = UsedStack(folders, tuple(layer.name for layer in layers), names)
    return sorted(used.values(), key=lambda one: -len(one.servers))[:MOST_STACKS]


def what_is_lost(run: Run, build: Installation, current: Installation, game: Game) -> str:
    """A sentence about what runs on `current` and not on `build`, or nothing."""
    for used in stacks_in_use(build):
        run.log(f"Trying the layers {used} on version {current.version}, then on {build.version}.")
        try:
            before = list_plugins(run, build, services.folder(current), used.folders, game, expected=())
        except TrialFailed as error:
            run.log(f"They do not run on version {current.version} either, so there is nothing to compare: {error}")
            continue
        try:
            after = list_plugins(run, build, services.folder(build), used.folders, game, expected=before)
        except TrialFailed as error:
            return f"No server with the layers {used} runs on version {build.version}: {error}"
        if game.plugins:
            run.log(f"Plugins on {current.version}: {', '.join(sorted(before)) or 'none'}.")
        if lost := sorted(before - after):
            return (
                f"With the layers {used}, {_listed(tuple(lost))} loads on {current.version} and not on {build.version}."
            )
    return ""


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
