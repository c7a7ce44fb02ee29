"""What every list of the HTTP API shares: `{"items": […], "next": cursor|null}`, and the bounds of numbers."""

from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from ninja import Query, Schema
from pydantic import Field

from jobs.policy import MAX_ID

MOST = 100

Row = TypeVar("Row", bound=Model)
Item = TypeVar("Item")

Number = Annotated[int, Field(ge=1, le=MAX_ID)]
Cursor = Annotated[
    str, Query("", max_length=64, pattern=r"^[A-Za-z0-9._-]*$", description="The `next` of the page before.")
]
Limit = Annotated[int, Query(50, ge=1, le=MOST, description="Items at most.")]


class FieldError(Exception):
    """A value of the request does not fit; the text is a sentence about `field`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Page(Schema, Generic[Item]):
    """One page of a list; `next` is the cursor of the following one, null at the end."""

    items: list[Item]
    next: str | None


def page(rows: QuerySet[Row], *, by: str, cursor: str, limit: int) -> dict[str, Any]:
    """Rows ordered by the unique field `by` (`-` for falling) after `cursor`, and the next page's cursor. One query."""
    field, after = by.removeprefix("-"), "lt" if by.startswith("-") else "gt"
    if field == "pk" and cursor and not cursor.isdecimal():
        raise FieldError("cursor", "Use the `next` of the page before.")
    asked = rows.filter(**{f"{field}__{after}": cursor}) if cursor else rows
    found = list(asked.order_by(by)[: limit + 1])
    more = len(found) > limit
    return {
        "items": found[:limit],
        "next": str(attrgetter(field.replace("__", "."))(found[limit - 1])) if more else None,
    }
