"""What a runtime is told to run: a game's definition filled in, over the layers the server stands on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from servers import own_files
from servers.games import Game
from servers.limit_models import Limited
from servers.limits import effective
from servers.models import ServerFile
from servers.runtime import get_runtime
from servers.runtime.base import ServerSpec


def server_spec(
    game: Game,
    *,
    name: str,
    layers: tuple[Path, ...],
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    ports: Mapping[str, int],
    files: Iterable[ServerFile] = (),
    limited: Iterable[Limited | None] = (),
) -> ServerSpec:
    """`layers`: absolute folders, lowest first; `files`: written by hand; `limited`: whose limits go before the game's.

    Raises `SettingsError` and `RenderError` of `servers.games`.
    """
    rendered = game.render(
        settings=settings,
        secrets=secrets,
        ports=ports,
        name=name,
        merged=str(get_runtime().tree(name)),
        address=django_settings.GAMES_BIND,
    )
    return ServerSpec(
        name=name,
        layers=layers,
        argv=rendered.argv,
        files=own_files.put_over(rendered.files, files),
        environment=rendered.environment,
        workdir=rendered.workdir,
        stop_signal=rendered.stop.signal,
        stop_after=rendered.stop.stop_after,
        kill_after=rendered.stop.kill_after,
        limits=effective(*limited, game.limits),
        ports=tuple(ports.values()),
    )
