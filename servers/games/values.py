"""The typed settings of a game: what a definition says of each, and how a member's value is cleaned."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from servers.games.base import Model, fail

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class InvalidValueError(ValueError):
    """A value does not fit its setting; the text ends a sentence that begins with the setting's label."""


class _Setting(Model):
    key: Key
    label: str = Field(min_length=1, max_length=60)
    help: str = Field(default="", max_length=300)
    cvar: str = Field(default="", pattern=r"^[A-Za-z0-9_]*$")  # what the running game calls it, for asking it

    def clean(self, value: Any) -> Any:
        raise NotImplementedError

    def text(self, value: Any) -> str:
        """A cleaned value as the game's files and arguments spell it."""
        return str(value)

    def read(self, text: str) -> Any:
        """The value of a text that somebody wrote for the game; the text itself where it is none that fits."""
        try:
            return self.clean(text)
        except InvalidValueError:
            return text

    @model_validator(mode="after")
    def _default_fits(self) -> Self:
        try:
            self.clean(self.default)  # type: ignore[attr-defined]
        except InvalidValueError as error:
            raise fail(("default",), f"the default does not fit its own setting: it {error}") from None
        return self


class StringSetting(_Setting):
    """One line of text. `suggestions` are offered, anything else that fits is taken too."""

    type: Literal["string", "password"]
    default: str = ""
    min_length: int = Field(default=0, ge=0)
    max_length: int = Field(default=100, ge=1, le=1000)
    pattern: str = ""
    suggestions: tuple[str, ...] = ()

    def clean(self, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidValueError("has to be text.")
        text = value.strip()
        if len(text) < self.min_length:
            raise InvalidValueError(
                "may not be empty." if not text else f"needs at least {self.min_length} characters."
            )
        if len(text) > self.max_length:
            raise InvalidValueError(f"may be at most {self.max_length} characters long; this has {len(text)}.")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise InvalidValueError(f"does not have the right form. {self.help}".rstrip())
        return text

    @model_validator(mode="after")
    def _pattern_compiles(self) -> Self:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise fail(("pattern",), f"is not a regular expression: {error}") from None
        return self


class IntegerSetting(_Setting):
    """A whole number from `min` to `max`."""

    type: Literal["integer"]
    default: int
    min: int
    max: int

    def clean(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise InvalidValueError("has to be a whole number.")
        if isinstance(value, str) and not re.fullmatch(r"\s*-?[0-9]{1,12}\s*", value):
            raise InvalidValueError("has to be a whole number.")
        number = int(value)
        if not self.min <= number <= self.max:
            raise InvalidValueError(f"has to be between {self.min} and {self.max}.")
        return number


class ChoiceSetting(_Setting):
    """One of `choices`, which maps each value to the label a member reads."""

    type: Literal["choice"]
    default: str
    choices: dict[str, str] = Field(min_length=1)

    def clean(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise InvalidValueError(f"has to be one of {', '.join(self.choices)}.")
        return value


class BooleanSetting(_Setting):
    """Yes or no, written to the game as `on` or `off`."""

    type: Literal["boolean"]
    default: bool = False
    on: str = "1"
    off: str = "0"

    def clean(self, value: Any) -> bool:
        known = {
            True: True,
            False: False,
            "true": True,
            "false": False,
            "on": True,
            "off": False,
            "1": True,
            "0": False,
        }
        if not isinstance(value, bool | str) or value not in known:
            raise InvalidValueError("has to be yes or no: true or false.")
        return known[value]

    def text(self, value: Any) -> str:
        return value if isinstance(value, str) else self.on if value else self.off

    def read(self, text: str) -> Any:
        return {self.on: True, self.off: False}.get(text, text)


Setting = Annotated[StringSetting | IntegerSetting | ChoiceSetting | BooleanSetting, Field(discriminator="type")]
