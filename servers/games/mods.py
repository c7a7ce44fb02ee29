"""What a definition says of add-ons that are programs: who has a say in them, and how the game lists them."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from servers.games import placeholders
from servers.games.base import Model, fail, inside

LONGEST_LINE = 1000  # of an answer: what is behind that is no plugin's name
_Flags = Annotated[str, Field(pattern=r"^[A-Za-z0-9:]{1,40}$")]
# The values of `servers.models.Right` that may count for something inside a game.
_Right = Literal["power", "console", "rcon", "files", "settings", "members"]
_NAMES = {("flags", ""), ("steam", "id2"), ("steam", "id3"), ("steam", "id64")}


class Admins(Model):
    """A file of an add-on that says who may do what inside the game. At each start the server's members who have a
    Steam id are written between two marks in it, a `line` each, if a layer has the folder it is in.

    `owner` are the flags of the server's owner; `rights` has those that a right brings, each flag a letter.
    """

    path: str = Field(min_length=1)
    comment: Literal["//", "#", ";"] = "//"
    line: str = Field(min_length=1, max_length=200)
    owner: _Flags
    rights: dict[_Right, Annotated[str, Field(pattern=r"^[A-Za-z]{1,30}$")]] = {}

    _path_inside = field_validator("path")(inside)

    @field_validator("path")
    @classmethod
    def _in_a_folder(cls, value: str) -> str:
        if "/" not in value:
            raise fail((), "has to be in a folder: only where a layer has that folder, members are written")
        return value

    @field_validator("line")
    @classmethod
    def _names_somebody(cls, value: str) -> str:
        found = {(kind, key) for kind, key, _ in placeholders.find(value)}
        if found - _NAMES or ("flags", "") not in found or len(found) < 2 or not value.isprintable():
            raise fail((), "needs {flags} and one of {steam.id2}, {steam.id3}, {steam.id64}, and no other placeholder")
        return value

    def flags(self, rights: set[str]) -> str:
        """Those of a member, in alphabetical order."""
        return "".join(sorted({flag for right, flags in self.rights.items() if right in rights for flag in flags}))


class Plugins(Model):
    """A console command whose answer lists plugins: a line that fits `line` names one that runs."""

    command: str = Field(pattern=r"^[A-Za-z0-9_.*-]+( [A-Za-z0-9_.*-]+)*$", max_length=100)
    line: str = Field(max_length=300)

    @field_validator("line")
    @classmethod
    def _has_name(cls, value: str) -> str:
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise fail((), f"is not a regular expression: {error}") from None
        if "name" not in pattern.groupindex:
            raise fail((), "needs a group (?P<name>…): what the plugin is called")
        return value

    def read(self, answer: str) -> set[str]:
        """The plugins that an answer to `command` names."""
        found = (re.search(self.line, line[:LONGEST_LINE]) for line in answer.splitlines())
        return {match["name"].strip() for match in found if match}
