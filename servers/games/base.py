"""What every model of a definition shares: frozen, no unknown keys, and errors that know where in the file they are."""

from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]


def fail(path: Path, message: str) -> PydanticCustomError:
    """An error at `path`, counted from the model that raises it; `validate` turns it into a file and a line."""
    return PydanticCustomError("definition", "{message}", {"message": message, "path": path})


def inside(value: str) -> str:
    """A path below the top of the game's files, as it is normally written."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not value.isprintable() or "\\" in value:
        raise fail((), f"{value!r} has to be a path inside the game's folder: relative and without `..`")
    return str(path)


class Model(BaseModel):
    """A table of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in sorted(data.keys() - set(known)):
            near = get_close_matches(str(key), known, 1)
            mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}."
            raise fail((key,), f"is not a known key; {mend}")
        return data
