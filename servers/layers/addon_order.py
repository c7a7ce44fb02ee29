"""The order in which a game takes its add-ons: each start writes the stack's into the file that lists them.

Source goes through that file from above and puts each package behind those before, so the first that has a file wins.
Packages that are not listed it lists last, and it saves the file (Valve's engine/filesystem_engine.cpp,
ReconcileAddonListFile and FileSystem_UpdateAddonSearchPaths): what it saved at the last start has to go first.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from servers import games
from servers.models import LayerFile, Server
from servers.runtime import get_runtime
from servers.runtime.base import ServerSpec, Undo

_PLAIN_NAME = re.compile(r"[^/\"\\\x00-\x1f]+\.vpk", re.IGNORECASE)


def list_addons(server: Server, spec: ServerSpec, layers: Sequence[Path]) -> ServerSpec:
    """The spec with that file, where the game has one and `layers`, lowest first, have add-ons. Nothing is mounted."""
    game = games.get(server.game)
    names = in_order(game.addons, [layer.name for layer in reversed(layers)]) if game.addon_list else []
    if not names:
        return spec
    get_runtime().undo(server.name, [Undo(game.addon_list)])
    lines = [f'\t"{name}"\t\t"1"\n' for name in names]
    return replace(spec, files={**spec.files, game.addon_list: "".join(['"AddonList"\n{\n', *lines, "}\n"]).encode()})


def in_order(folder: str, digests: Sequence[str]) -> list[str]:
    """The names of the packages in `folder` of these builds, uppermost first, and by name within a build."""
    place = {digest: number for number, digest in enumerate(digests)}
    packages = LayerFile.objects.filter(build__digest__in=digests, addon="", path__startswith=f"{folder}/")
    found = packages.filter(path__iendswith=".vpk").values_list("build__digest", "path")
    names = [path.removeprefix(f"{folder}/") for _, path in sorted((place[digest], path) for digest, path in found)]
    return list(dict.fromkeys(name for name in names if _PLAIN_NAME.fullmatch(name)))
