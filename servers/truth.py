"""What a server's settings are, in each place that has a say: the game, its blueprint, the member, the running game."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from django.conf import settings as django_settings

from servers import games, own_files
from servers.models import Server, ServerFile
from servers.runtime import get_runtime
from servers.services.sending import hide_secrets

HIDDEN = "•••"
BY_HAND = "set by hand"  # in place of the value, for who may not see the server's files


@dataclass(frozen=True)
class Row:
    """One setting, each value in words; None where that place says nothing. `changes`: the next start makes another
    value of it than the game was started with. `by_hand`: the file whose lines by hand say what the next start's is.
    `is_hidden`: those lines are not for the reader."""

    key: str
    label: str
    default: str
    blueprint: str | None
    saved: str | None
    running: str | None
    next: str
    by_hand: str = ""
    is_hidden: bool = False

    @property
    def changes(self) -> bool:
        return self.running is not None and self.running != self.next and not self.is_hidden


def rows(server: Server, game: "games.Game", *, sees_files: bool) -> list[Row]:
    """One for each setting of the game, in the order of the form. Reads `server.blueprint` and its own files, of which
    nothing shows but that they say something unless the reader `sees_files`."""
    by_hand = own_files.by_hand(game, server.own_files.filter(path__in=own_files.generated(game)))
    coming = game.default_settings() | server.chosen | {key: one.value for key, one in by_hand.items()}
    started = server.started_with if server.is_live else {}
    own = server.blueprint.settings if server.blueprint else {}
    return [
        Row(
            key=setting.key,
            label=setting.label,
            default=_words(setting, setting.default),
            blueprint=_known(setting, own),
            saved=_known(setting, server.settings),
            running=_known(setting, started),
            next=_words(setting, coming[setting.key]) if sees_files or setting.key not in by_hand else BY_HAND,
            by_hand=by_hand[setting.key].path if sees_files and setting.key in by_hand else "",
            is_hidden=setting.key in by_hand and not sees_files,
        )
        for setting in game.settings
    ]


def _known(setting: Any, values: Mapping[str, Any]) -> str | None:
    return _words(setting, values[setting.key]) if setting.key in values else None


def _words(setting: Any, value: Any) -> str:
    match setting.type:
        case "password":
            return HIDDEN if value else "none"
        case "boolean":
            return value if isinstance(value, str) else "yes" if value else "no"
        case "choice":
            return str(setting.choices.get(value, value))
        case _:
            return str(value) if value != "" else "empty"


@dataclass(frozen=True)
class Asked:
    """What the game itself says of a setting: `expected` is what it was started with, as the game spells it."""

    label: str
    cvar: str
    value: str | None
    expected: str | None

    @property
    def strays(self) -> bool:
        """Somebody or something has changed it while the game ran."""
        return None not in (self.value, self.expected) and self.value != self.expected


def compare(server: Server, game: "games.Game", answers: Mapping[str, str | None]) -> list[Asked]:
    """`answers` as `services.ask_settings` gives them."""
    found = []
    for key, value in answers.items():
        setting, started = game.settings_by_key[key], server.started_with
        expected = setting.text(started[key]) if key in started else None
        found.append(Asked(setting.label, setting.cvar, value, expected))
    return found


def config_files(server: Server, game: "games.Game", files: Iterable[ServerFile] = ()) -> dict[str, str]:
    """The files that the next start writes, by path, those of `files` by hand among them, without any password that the
    portal knows. Raises `SettingsError`, `RenderError`."""
    hidden = token_hex(8)
    rendered = game.render(
        settings=server.chosen,
        secrets=server.secrets,
        ports={port.name: port.number for port in server.ports.all()},
        name=server.name,
        merged=str(get_runtime().tree(server.name)),
        address=django_settings.GAMES_BIND,
        hide=hidden,
    )
    made = {path: content.replace(hidden.encode(), HIDDEN.encode()) for path, content in rendered.files.items()}
    written = own_files.put_over(made, files)
    return {path: hide_secrets(server, content.decode(errors="replace")) for path, content in written.items()}
