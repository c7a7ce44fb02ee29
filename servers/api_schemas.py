"""The shapes of servers, games and blueprints in the HTTP API."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Schema
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from servers import access, games
from servers.disk import last_known
from servers.games.bounds import GameLimits
from servers.limits import Limits, effective
from servers.models import Installation, Right, Server

Value = StrictBool | StrictInt | StrictFloat | Annotated[StrictStr, Field(max_length=1000)]
Settings = Annotated[dict[str, Value], Field(max_length=100, description="Values by the setting's key.")]


class SettingOut(Schema):
    """A setting of a game and what fits it; bounds that its type does not have are null."""

    key: str
    label: str
    help: str
    type: str = Field(description="string, password, integer, choice or boolean.")
    default: Value
    choices: dict[str, str] | None = Field(None, description="Label by value.")
    min: int | None = None
    max: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    suggestions: list[str] | None = None


class GameOut(Schema):
    """A game, as its definition describes it."""

    slug: str
    name: str
    summary: str
    settings: list[SettingOut]


class BlueprintOut(Schema):
    """What a server can be created from."""

    slug: str
    name: str
    summary: str
    game: str


class InstallationOut(Schema):
    """One version of a game's files on a machine; servers take the current one at their next start."""

    id: int
    node: str = Field(alias="node.slug")
    game: str
    version: str
    state: Installation.State
    is_current: bool
    detail: str = Field(description="Why it failed or is held back, in a sentence; else empty.")
    size_bytes: int
    shared_bytes: int = Field(description="Of these, in files it shared with the version before when it was built.")
    servers: list[str] = Field(description="Names of the servers that last started on it.")
    created_at: datetime

    @staticmethod
    def resolve_servers(installation: Installation) -> list[str]:
        return [server.name for server in installation.servers.all()]


class LimitsOut(Schema):
    """What a server may use of its machine from its next start."""

    memory_mib: int
    cpu_percent: int | None = Field(description="Of one core; null: no limit.")
    tasks_max: int = Field(description="Processes and threads.")
    open_files: int = Field(description="Of each process.")


class DiskOut(Schema):
    """What a server's own files take, and with all else its owner has on disk."""

    bytes: int
    measured_at: datetime | None = Field(description="Null until it was measured.")
    is_cut: bool = Field(description="Whether there is more that could not be counted.")
    used: int | None = Field(None, description="Of its owner in all, layers and uploads too, for who may start it.")
    limit: int | None = Field(None, description="Of its owner, for who may start it; null: none.")
    warning: str = Field("", description="A sentence near that limit and beyond it, for who may start it.")


class ServerOut(Schema):
    """A server: what is wanted of it (`desired`) apart from what is seen of it (`unit`, `query`)."""

    name: str
    owner: str = Field(alias="owner.username")
    game: str
    blueprint: str | None = Field(description="Slug of what it was created from, while that is there.")
    node: str = Field(alias="node.slug")
    address: str = Field(description="Where players connect, `host:port`.")
    desired: Server.Desired
    unit: Server.Unit
    unit_detail: str = Field(description="Why it is in that state, in a sentence; often empty.")
    query: dict[str, Any] = Field(description="The game's last answer: map, players and so on; empty when unknown.")
    query_error: str = Field(description="Why a game that runs does not answer, in a sentence; empty while it does.")
    console: int = Field(alias="console_id", description="Its stream of lines: `/streams/{id}/lines`.")
    settings: dict[str, Any] | None = Field(description="Null without the right to see them.")
    follows_blueprint: bool = Field(description="Whether it takes its blueprint's changes at each start.")
    limits: LimitsOut
    disk: DiskOut
    rights: list[Right] = Field(description="What you may do with it.")
    created_at: datetime

    @staticmethod
    def resolve_blueprint(server: Server) -> str | None:
        return server.blueprint.slug if server.blueprint else None

    @staticmethod
    def resolve_query(server: Server) -> dict[str, Any]:
        return server.facts()

    @staticmethod
    def resolve_limits(server: Server) -> Limits:
        game = games.all_games().get(server.game)
        return effective(server, server.blueprint, game and game.limits)

    @staticmethod
    def resolve_disk(server: Server, context: Any) -> dict[str, Any]:
        whole = last_known(server.owner, reader=_user(context))
        measured = {"bytes": server.disk_bytes, "measured_at": server.disk_measured_at, "is_cut": server.disk_is_cut}
        if Right.POWER not in access.rights(_user(context), server):
            return measured
        return measured | {"used": whole.used, "limit": whole.limit, "warning": whole.sentence}

    @staticmethod
    def resolve_rights(server: Server, context: Any) -> list[Right]:
        return sorted(access.rights(_user(context), server))

    @staticmethod
    def resolve_settings(server: Server, context: Any) -> dict[str, Any] | None:
        return server.chosen if Right.SETTINGS in access.rights(_user(context), server) else None


def _user(context: Any) -> Any:
    request: HttpRequest = context["request"]
    return request.user


class NewServer(Schema):
    """What a new server is made from."""

    name: str = Field(max_length=200, description="Small letters, digits and hyphens; part of its address here.")
    blueprint: str = Field(max_length=63, pattern=r"^[A-Za-z0-9_-]+$", description="A blueprint's slug.")
    settings: Settings = {}
    follow: bool = Field(False, description="Take later changes of the blueprint too, at each start.")


class ServerChange(Schema):
    """What to change; settings and limits that are not named stay as they are."""

    settings: dict[str, Value | None] = Field({}, max_length=100, description="By key; null: the default again.")
    limits: GameLimits | None = Field(None, description="For moderators; null in it: none of the server's own again.")


class CloneIn(Schema):
    """The copy's name."""

    name: str = Field(max_length=200)


class CommandIn(Schema):
    """One line for the server's console."""

    command: str = Field(max_length=1000)


class CommandOut(Schema):
    """What the server answered."""

    answer: str


class MemberOut(Schema):
    """Somebody with rights on a server of somebody else."""

    username: str = Field(alias="user.username")
    rights: list[Right]


class MemberIn(Schema):
    """Rights for a user; the right to view comes with any, and what is not listed is taken."""

    username: str = Field(max_length=150)
    rights: list[Right] = Field(min_length=1, max_length=20)
    was: list[Right] | None = Field(
        None, max_length=20, description="The rights you saw, empty for none: 409 when they are others by now."
    )
