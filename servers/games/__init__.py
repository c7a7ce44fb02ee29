"""The games this portal knows: TOML definitions that come with it and the admin's own in /etc/left4me/games.d."""

from pathlib import Path

from django.conf import settings

from servers.games.render import Rendered, RenderError, Stop
from servers.games.schema import Game, SettingsError
from servers.games.validate import DefinitionError, load

__all__ = [
    "Game", "RenderError", "Rendered", "SettingsError", "Stop", "UnknownGame", "all_games", "get", "problems",
]  # fmt: skip

_Stamp = tuple[int, int]
_loaded: dict[Path, tuple[_Stamp, Game | DefinitionError]] = {}


class UnknownGame(Exception):
    """No definition has that slug."""

    def __init__(self, slug: str) -> None:
        super().__init__(f"No game is called {slug!r}. Pick one of: {', '.join(all_games()) or 'none is defined'}.")


def _read() -> dict[Path, Game | DefinitionError]:
    """Every definition file with what it holds; a file is parsed again when its time or size changed."""
    found = {}
    for folder in settings.GAMES_DIRS:
        for path in sorted(Path(folder).glob("*.toml")):
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_mtime_ns, status.st_size)
            if path not in _loaded or _loaded[path][0] != stamp:
                _loaded[path] = (stamp, _parse(path))
            found[path] = _loaded[path][1]
    return found


def _parse(path: Path) -> Game | DefinitionError:
    try:
        return load(path)
    except DefinitionError as error:
        return error


def all_games() -> dict[str, Game]:
    """The usable games by slug, in order of name. A later folder's file replaces an earlier one's of that slug."""
    games = {game.slug: game for game in _read().values() if isinstance(game, Game)}
    return dict(sorted(games.items(), key=lambda item: item[1].name.lower()))


def get(slug: str) -> Game:
    """The game of that slug, or `UnknownGame`."""
    try:
        return all_games()[slug]
    except KeyError:
        raise UnknownGame(slug) from None


def problems() -> list[str]:
    """What is wrong with definitions that were left out, one line each: file, line, key and mend."""
    return [line for found in _read().values() if isinstance(found, DefinitionError) for line in str(found).split("\n")]
