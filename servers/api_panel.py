"""A running server in the HTTP API: who plays, kick and ban, messages, the map, and what is to be done later."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Path, Router, Schema, Status
from pydantic import Field

from jobs.pages import member
from servers import activity, services
from servers.api import Name, server_for
from servers.models import Pending, Right

router = Router(tags=["servers"])
Number = Annotated[int, Path(ge=0, lt=10**9, description="The player's number on the server.")]


class PlayerOut(Schema):
    """Somebody who plays; what the game does not tell is null."""

    id: int = Field(description="The number that kick and ban take.")
    name: str
    ping: int | None = Field(description="Milliseconds.")
    seconds: int | None = Field(description="Since joining.")
    bot: bool


class RollOut(Schema):
    """The game's own list."""

    players: list[PlayerOut]
    hibernating: bool | None = Field(description="It rests until somebody joins; null where the game does not say.")
    reserved: bool | None = Field(description="A lobby holds it; null where the game does not say.")


class PlayerIn(Schema):
    """Whom the number is meant to be."""

    name: str = Field(max_length=200, description="As listed. When the number is somebody else's by now, it is spared.")


class MessageIn(Schema):
    """A line for the chat."""

    text: str = Field(max_length=1000)


class LevelIn(Schema):
    """A map."""

    map: str = Field(max_length=200, description="One that the game is known to have, or that its add-ons bring.")


class LaterIn(Schema):
    """What to do later, and when."""

    verb: Literal["stop", "restart"]
    after: int | None = Field(
        None, ge=10, le=3600, description="Seconds, counted down in chat; null: once nobody plays."
    )


class ActivityOut(Schema):
    """A list for each figure, one entry a point, oldest first; null while the server did not run."""

    at: list[int] = Field(description="Seconds since 1970 at which the point begins.")
    players: list[int | None] = Field(description="Most at once.")
    map: list[str | None] = Field(description="The commonest.")
    cpu: list[float | None] = Field(description="Mean, in percent of one processor.")
    memory: list[int | None] = Field(description="Most, in bytes.")


@router.get("/servers/{name}/players", response=RollOut, summary="List who plays")
def list_players(request: HttpRequest, name: Name) -> Any:
    """Asks the game, which takes up to five seconds."""
    return services.call_roll(by=member(request), server=server_for(request, name, Right.RCON))


@router.post("/servers/{name}/players/{number}/kick", response={204: None}, summary="Kick a player")
def kick(request: HttpRequest, name: Name, number: Number, who: PlayerIn) -> Status[None]:
    """They may come back."""
    server = server_for(request, name, Right.RCON)
    services.kick_player(by=member(request), server=server, player=number, name=who.name)
    return Status(204, None)


@router.post("/servers/{name}/players/{number}/ban", response={204: None}, summary="Ban a player")
def ban(request: HttpRequest, name: Name, number: Number, who: PlayerIn) -> Status[None]:
    """For good, where the game keeps a list of that."""
    server = server_for(request, name, Right.RCON)
    services.ban_player(by=member(request), server=server, player=number, name=who.name)
    return Status(204, None)


@router.post("/servers/{name}/say", response={204: None}, summary="Say something to everybody")
def say(request: HttpRequest, name: Name, message: MessageIn) -> Status[None]:
    """In the game's chat."""
    services.say(by=member(request), server=server_for(request, name, Right.RCON), text=message.text)
    return Status(204, None)


@router.post("/servers/{name}/level", response={204: None}, summary="Change the map")
def change_level(request: HttpRequest, name: Name, level: LevelIn) -> Status[None]:
    """At once."""
    services.change_level(by=member(request), server=server_for(request, name, Right.RCON), level=level.map)
    return Status(204, None)


@router.post("/servers/{name}/later", response={204: None}, summary="Stop or restart later")
def later(request: HttpRequest, name: Name, wish: LaterIn) -> Status[None]:
    """Replaces what waited before. It is given up after a day, or when the server stops otherwise."""
    server, verb = server_for(request, name, Right.POWER), Pending.Verb(wish.verb)
    if wish.after is None:
        services.wait_until_empty(by=member(request), server=server, verb=verb)
    else:
        services.count_down(by=member(request), server=server, verb=verb, after=timedelta(seconds=wish.after))
    return Status(204, None)


@router.delete("/servers/{name}/later", response={204: None}, summary="Call it off")
def cancel_later(request: HttpRequest, name: Name) -> Status[None]:
    """Harmless when nothing waits."""
    services.cancel_waiting(by=member(request), server=server_for(request, name, Right.POWER))
    return Status(204, None)


@router.get("/servers/{name}/activity", response=ActivityOut, summary="Read a server's activity")
def read_activity(request: HttpRequest, name: Name, range: Literal["24h", "7d", "30d"] = "24h") -> dict[str, Any]:
    """Players, map and load of the last day, week or month, in about 300 points."""
    return activity.series(server_for(request, name), activity.RANGES[range])
