"""The closed list of what a job can do: a kind is a decorated function in some app's `tasks` module."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
from django.utils.module_loading import autodiscover_modules

MAX_TIME_LIMIT = 6 * 3600

_kinds: dict[str, "Kind"] = {}


class JobError(Exception):
    """An expected failure of a job. Its text is a sentence that a member understands and that says what to do."""


class UnknownKind(LookupError):
    """No kind of that name is registered."""


class BadArguments(ValueError):
    """The arguments do not fit the kind's signature; the text says which and why."""


@dataclass(frozen=True)
class Kind:
    """What may be enqueued: a function `(run, **arguments)` and how it is treated."""

    name: str
    function: Callable[..., None]
    time_limit: int
    retryable: bool
    bulk: bool
    arguments: type[pydantic.BaseModel]

    def clean(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """`args` as JSON values that fit the signature. Raises `BadArguments`."""
        try:
            return self.arguments.model_validate(dict(args)).model_dump(mode="json", exclude_unset=True)
        except (pydantic.ValidationError, pydantic.errors.PydanticUserError) as error:
            raise BadArguments(f"Job kind {self.name}: {error}") from error


def job_kind(
    name: str, *, time_limit: int = 600, retryable: bool = True, quick: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `def kind(run: Run, *, argument: int, …) -> None`, whose arguments are JSON values with annotations.

    `time_limit`: seconds it may run, up to six hours. `retryable`: whether a member may ask for it again.
    `quick`: somebody waits for it and it is soon over, so some workers are kept free for it (jobs/turns.py).
    The function must be safe to run twice, and calls `run.check()` often enough to be stopped.
    """
    if not 0 < time_limit <= MAX_TIME_LIMIT:
        raise ValueError(f"Job kind {name}: a time limit is between 1 and {MAX_TIME_LIMIT} seconds.")

    def register(function: Callable[..., None]) -> Callable[..., None]:
        known = _kinds.get(name)
        if known and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"Two functions claim the job kind {name}.")
        _kinds[name] = Kind(name, function, time_limit, retryable, not quick, _arguments(name, function))
        return function

    return register


def _arguments(name: str, function: Callable[..., None]) -> type[pydantic.BaseModel]:
    """A model of the parameters after the run handle: strict, so that "12" is not 12, and closed."""
    _run, *parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        parameter.name: (
            Any if parameter.annotation is parameter.empty else parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
    }
    return pydantic.create_model(name, __config__=pydantic.ConfigDict(strict=True, extra="forbid"), **fields)


def get(name: str) -> Kind:
    """The kind of that name. Raises `UnknownKind`."""
    if name not in _kinds:
        load()
    try:
        return _kinds[name]
    except KeyError:
        raise UnknownKind(f"There is no job kind {name}.") from None


def is_bulk(name: str) -> bool:
    """Whether jobs of that kind must leave workers to quick ones. One that is unknown fails at once, so it need not."""
    try:
        return get(name).bulk
    except UnknownKind:
        return False


def load() -> None:
    """Import every app's `tasks` module, which registers its kinds."""
    autodiscover_modules("tasks")
