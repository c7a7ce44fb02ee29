"""Reads JSON that somebody sent: one meaning, and nothing in it that the database could not hold."""

import json
import math
from typing import Any


class Unreadable(ValueError):
    """The text is no JSON, or not such as we take; says why."""


def loads(text: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises `Unreadable`."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise Unreadable("It is not UTF-8.") from error
    except RecursionError as error:
        raise Unreadable("It is nested too deeply.") from error
    except Unreadable:
        raise
    except ValueError as error:  # also a number of thousands of digits
        raise Unreadable("It is not valid JSON.") from error
    _check(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise Unreadable("A key is there twice.")
    return found


def _check(value: Any) -> None:
    """Not by calling itself: what was read may be nested deeply."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as found:
                waiting += [*found, *found.values()]
            case list() as found:
                waiting += found
            case str() as found if "\0" in found or any("\ud800" <= char <= "\udfff" for char in found):
                raise Unreadable("A text in it has a NUL, or half a character.")
            case float() as found if not math.isfinite(found):
                raise Unreadable("A number in it is none, or beyond all bounds.")
