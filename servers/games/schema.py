"""A game's definition: one TOML file read into these frozen models (docs/games.md explains every key)."""

import secrets as random
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from servers.games import placeholders
from servers.games.base import Model, Path, fail
from servers.games.base import inside as _inside
from servers.games.bounds import GameLimits
from servers.games.controls import Actions, Console
from servers.games.mods import Admins, Plugins
from servers.games.render import Rendered, render
from servers.games.syntax import RefusedError, Syntax, needs_whole_word, write
from servers.games.values import InvalidValueError, Key, Setting

SECRET_BYTES = 12
MOST_ASKED = 10  # settings that one look asks the running game for: ioquake3 answers ten in a row


class SettingsError(Exception):
    """Values that do not fit; `by_key` has a sentence for each."""

    def __init__(self, by_key: Mapping[str, str]) -> None:
        super().__init__(" ".join(by_key.values()))
        self.by_key = dict(by_key)


class DebianInstall(Model):
    """Packages of the host's Debian sources, unpacked without root. The first one names the version."""

    method: Literal["debian"]
    packages: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")], ...] = Field(min_length=1)


class BuiltinInstall(Model):
    """A folder that comes with the portal, beside the definition."""

    method: Literal["builtin"]
    folder: str = Field(pattern=r"^[a-z0-9_]+$")


class SteamcmdInstall(Model):
    """An application of Steam. `platforms` are downloaded one after the other into the same folder."""

    method: Literal["steamcmd"]
    app: int = Field(gt=0)
    platforms: tuple[Literal["linux", "windows"], ...] = ("linux",)
    branch: str = Field(default="public", pattern=r"^[A-Za-z0-9_.-]+$")
    disk_gib: int = Field(default=1, ge=1, le=1000, description="Room that downloading and unpacking take.")


class Run(Model):
    """How the game is started and stopped. Delays in seconds."""

    argv: tuple[str, ...] = Field(min_length=1)
    environment: dict[Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")], str] = {}
    workdir: str = "."
    stop_signal: str = "SIGINT"
    stop_after: float = Field(default=10, ge=0, le=300)
    kill_after: float = Field(default=5, ge=0, le=300)

    _workdir_inside = field_validator("workdir")(_inside)

    @field_validator("stop_signal")
    @classmethod
    def _is_signal(cls, value: str) -> str:
        if value not in signal.Signals.__members__:
            raise fail((), f"{value!r} is not a signal; write for example SIGINT or SIGTERM")
        return value


class Port(Model):
    """A port the portal picks between `from` and `to`, in steps of `step`."""

    name: Key
    protocol: Literal["udp", "tcp", "both"]
    first: int = Field(alias="from", ge=1024, le=65535)
    last: int = Field(alias="to", ge=1024, le=65535)
    step: int = Field(default=1, ge=1, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.first > self.last:
            raise fail(("to",), f"has to be at least {self.first}, the first port")
        return self

    @property
    def numbers(self) -> range:
        """The ports it may be given, in the order they are tried."""
        return range(self.first, self.last + 1, self.step)


class Query(Model):
    """How players and map are asked for."""

    protocol: Literal["source", "quake3", "teeworlds"]
    port: Key = "game"


class File(Model):
    """A config file written at every start. In a console syntax each placeholder becomes one quoted word."""

    path: str = Field(min_length=1)
    syntax: Literal["quake", "source", "teeworlds", "ini", "plain"]
    lines: tuple[str, ...]

    _path_inside = field_validator("path")(_inside)


class Game(Model):
    """A game as its definition describes it."""

    slug: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")
    name: str = Field(min_length=1, max_length=60)
    summary: str = Field(min_length=1, max_length=200)
    homepage: str = Field(default="", pattern=r"^(https?://\S+)?$")
    appid: int | None = Field(default=None, gt=0, description="Steam's number, for steam://connect links.")
    install: DebianInstall | BuiltinInstall | SteamcmdInstall = Field(discriminator="method")
    run: Run
    ports: tuple[Port, ...] = Field(min_length=1)
    limits: GameLimits = GameLimits()
    query: Query | None = None
    console: Console | None = None
    actions: Actions = Actions()
    addons: Annotated[str, AfterValidator(_inside)] = ""  # the folder it takes them from, below the top of its files
    addon_list: Annotated[str, AfterValidator(_inside)] = ""  # the file that lists them in their order
    secrets: tuple[Key, ...] = ()
    settings: tuple[Setting, ...] = ()
    files: tuple[File, ...] = ()
    editable: tuple[Annotated[str, AfterValidator(_inside)], ...] = ()  # patterns of files one may write by hand
    admins: Admins | None = None
    plugins: tuple[Plugins, ...] = ()

    @cached_property
    def settings_by_key(self) -> dict[str, Any]:
        return {setting.key: setting for setting in self.settings}

    @cached_property
    def places(self) -> dict[str, set[Syntax]]:
        """For each setting, every syntax its value is written in."""
        found: dict[str, set[Syntax]] = {setting.key: set() for setting in self.settings}
        for _, template, syntax in self.templates():
            for kind, key, _ in placeholders.find(template):
                if kind == "setting":
                    found[key].add(syntax)
        return found

    @property
    def maps(self) -> tuple[str, ...]:
        """The maps one may change to while it runs."""
        setting = self.settings_by_key.get(self.actions.maps)
        return tuple(getattr(setting, "choices", ())) or tuple(getattr(setting, "suggestions", ()))

    def templates(self) -> Iterator[tuple[Path, str, Syntax]]:
        """Every template that may hold a member's text: where it stands in the definition, itself, its syntax."""
        for index, element in enumerate(self.run.argv):
            yield ("run", "argv", index), element, Syntax.ARGV
        for number, file in enumerate(self.files):
            for index, line in enumerate(file.lines):
                yield ("files", number, "lines", index), line, Syntax(file.syntax)

    def clean_settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The given values, typed and bounded; those left out stay out. `SettingsError` when any does not fit."""
        cleaned, errors = {}, {}
        for key, value in values.items():
            if key not in self.settings_by_key:
                errors[key] = f"{self.name} has no setting {key!r}. Leave it out."
                continue
            try:
                cleaned[key] = self._clean(key, value)
            except (InvalidValueError, RefusedError) as error:
                errors[key] = f"{self.settings_by_key[key].label} {error}"
        if errors:
            raise SettingsError(errors)
        return cleaned

    def _clean(self, key: str, value: Any) -> Any:
        setting = self.settings_by_key[key]
        cleaned = setting.clean(value)
        for syntax in sorted(self.places[key]):
            write(setting.text(cleaned), syntax)
        return cleaned

    def default_settings(self) -> dict[str, Any]:
        return {setting.key: setting.default for setting in self.settings}

    def complete_settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A value for each setting: the given ones, but none the game does not know, and defaults for the rest."""
        known = {key: value for key, value in values.items() if key in self.settings_by_key}
        return self.default_settings() | self.clean_settings(known)

    def complete_secrets(self, existing: Mapping[str, str]) -> dict[str, str]:
        """The secrets a server of this game needs: those it has, and newly made ones for the rest."""
        return {key: existing.get(key) or random.token_hex(SECRET_BYTES) for key in self.secrets}

    def render(
        self,
        *,
        settings: Mapping[str, Any],
        secrets: Mapping[str, str],
        ports: Mapping[str, int],
        name: str,
        merged: str,
        address: str = "0.0.0.0",  # noqa: S104 - a game server is there to be reached
        hide: str = "",
    ) -> Rendered:
        """What to start. `settings` as stored: what the game no longer knows is ignored, what is not there is default.

        `merged` is the absolute path of the server's files as the game sees them, `address` the one it listens on.
        `hide`, where given, stands for every secret and password: letters and digits alone.
        Raises `SettingsError`, or `RenderError` when a port or secret is missing.
        """
        values = self.complete_settings(settings)
        texts = {key: self.settings_by_key[key].text(value) for key, value in values.items()}
        if hide:
            secrets = dict.fromkeys(secrets, hide)
            texts |= {key: hide for key, text in texts.items() if text and self.settings_by_key[key].type == "password"}
        # The interpreter itself, not a virtual environment's link to it: a sandboxed game cannot see the portal.
        python = getattr(sys, "_base_executable", "") or sys.executable
        own = {"merged": merged, "python": python, "name": name, "address": address}
        return render(self, texts, secrets, ports, own)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for what, names in (
            ("ports", [port.name for port in self.ports]),
            ("settings", [setting.key for setting in self.settings]),
            ("files", [file.path for file in self.files]),
        ):
            for index, name in enumerate(names):
                if name in names[:index]:
                    raise fail((what, index), f"{name!r} is there twice; give each its own name")
        ports = {port.name for port in self.ports}
        for what, asked in (("query", self.query), ("console", self.console)):
            if asked and asked.port not in ports:
                raise fail((what, "port"), f"{asked.port!r} is not one of the ports: {', '.join(sorted(ports))}")
        if self.console and self.console.secret not in self.secrets:
            raise fail(("console", "secret"), f"{self.console.secret!r} is not listed in secrets")
        if not self.console and "actions" in self.model_fields_set:
            raise fail(("actions",), "needs a console to send them to")
        if self.actions.changelevel and not self.maps:
            raise fail(("actions", "maps"), f"{self.actions.maps!r} is no setting with choices or suggestions")
        mode = self.settings_by_key.get(self.actions.mode or "")
        if self.actions.mode and not (mode and mode.type == "choice" and mode.cvar):
            raise fail(("actions", "mode"), f"{self.actions.mode!r} is no setting with choices and a cvar")
        self._check_mods()
        self._check_cvars()
        self._check_placeholders(ports)
        self._check_defaults()
        return self

    def _check_mods(self) -> None:
        if not self.console and self.plugins:
            raise fail(("plugins",), "needs a console to ask for them")
        if self.admins and self.admins.path in {file.path for file in self.files}:
            raise fail(("admins", "path"), "is one of the files that the settings make")

    def _check_cvars(self) -> None:
        asked = [(index, setting) for index, setting in enumerate(self.settings) if setting.cvar]
        for number, (index, setting) in enumerate(asked, 1):
            if not self.console or setting.type == "password":
                raise fail(("settings", index, "cvar"), "needs a console to ask, and is not for passwords")
            if number > MOST_ASKED:
                raise fail(("settings", index, "cvar"), f"is one too many: {MOST_ASKED} settings can be asked for")

    def _check_placeholders(self, ports: set[str]) -> None:
        plain = {(kind, "") for kind in placeholders.PLAIN} | {("port", port) for port in ports}
        known = plain | {("setting", key) for key in self.settings_by_key} | {("secret", key) for key in self.secrets}
        for path, template, syntax in self.templates():
            for kind, key, alone in placeholders.find(template):
                shown = f"{{{kind}.{key}}}" if key else f"{{{kind}}}"
                if (kind, key) not in known:
                    raise fail(path, f"{shown} is not a known placeholder")
                if kind == "secret" and syntax is Syntax.ARGV:
                    raise fail(path, f"{shown} would be seen in the list of processes: put it into a file")
                if needs_whole_word(syntax) and not alone:
                    raise fail(path, f"{shown} becomes a quoted word here: put blanks around it, and no quotes")
        for name, template in self.run.environment.items():
            if {(kind, key) for kind, key, _ in placeholders.find(template)} - plain:
                raise fail(
                    ("run", "environment", name), "may hold only {port.NAME}, {merged}, {python}, {name}, {address}"
                )

    def _check_defaults(self) -> None:
        for index, setting in enumerate(self.settings):
            texts = [("default", setting.text(setting.default))]
            if setting.type == "choice":
                texts += [("choices", value) for value in setting.choices]
            for field, text in texts:
                for syntax in self.places[setting.key]:
                    try:
                        write(text, syntax)
                    except RefusedError as error:
                        raise fail(("settings", index, field), f"{text!r} {error}") from None
