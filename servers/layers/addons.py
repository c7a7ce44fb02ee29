"""Looks into the add-on packages of a build: their files, maps and campaigns, for its row in the database."""

from collections.abc import Callable
from pathlib import Path

from jobs.registry import JobError
from servers import vpk
from servers.games import Game
from servers.layers.content import Content, File

MOST_INSIDE = 300_000  # files in all packages of one build


def look_into(content: Content, root: Path, game: Game, *, check: Callable[[], None]) -> None:
    """Fill in `inside`, `campaigns` and `maps`. Raises `JobError` that names a malformed package."""
    if not game.addons:
        return
    folder = game.addons.partition("/")[0]
    for file in content.files:
        if not file.path.lower().endswith(".vpk"):
            continue
        check()
        try:
            entries = vpk.read_directory(root / file.path)
            campaigns = vpk.campaigns_of(root / file.path, entries)
        except vpk.VpkError as error:
            raise JobError(f"{file.path} is damaged: {error} Get it again, or take it out.") from error
        unique = {entry.path: entry for entry in entries}
        content.inside += [File(f"{folder}/{path}", entry.size, file.path) for path, entry in unique.items()]
        content.campaigns += [vpk.as_json(campaign, file.path) for campaign in campaigns]
        content.maps += vpk.maps_of(entries)
        if len(content.inside) > MOST_INSIDE:
            raise JobError(f"Its add-ons hold more than {MOST_INSIDE} files together. Make several layers of them.")
    content.maps = sorted(set(content.maps))
