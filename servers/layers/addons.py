"""Looks into the add-on packages of a build: their files, maps and campaigns, for its row in the database."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from jobs import process
from jobs.registry import JobError
from servers.games import Game
from servers.layers.content import Content, File
from servers.layers.unpack import REFUSED

SECONDS = 600


def look_into(content: Content, root: Path, game: Game, *, check: Callable[[], None]) -> None:
    """Fill in `inside`, `campaigns` and `maps`, read by a process of its own. Raises `JobError` that names a malformed
    package."""
    if not game.addons or not any(file.path.lower().endswith(".vpk") for file in content.files):
        return
    folder = game.addons.partition("/")[0]
    with tempfile.NamedTemporaryFile() as result:
        argv = [sys.executable, "-m", "servers.layers.packages", str(root), folder, result.name]
        ended = process.run(argv, timeout=SECONDS, cwd=settings.BASE_DIR, check=check)
        if ended.code == REFUSED:
            raise JobError((ended.output.strip().splitlines() or [""])[-1])
        if ended.code:
            raise JobError("Its add-ons could not be read: that took more than it may. Make several layers of them.")
        found = json.load(result)
    content.inside = [File(*one) for one in found["inside"]]
    content.campaigns, content.maps = found["campaigns"], found["maps"]
