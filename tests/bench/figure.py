"""One measured figure beside what it is held to."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """`name` is one word. `bound`: the most the value may be (`at_least`: the least); without one it only informs."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False

    @property
    def short(self) -> bool:
        """Whether it misses its bound. What could not be measured does."""
        if self.bound is None:
            return False
        return not (self.value >= self.bound if self.at_least else self.value <= self.bound)

    def __str__(self) -> str:
        bound = "-" if self.bound is None else f"{'>=' if self.at_least else '<='}{self.bound:g}"
        return f"{self.name.replace(' ', '_')} {self.value:.4g} {self.unit} {bound} {'short' if self.short else 'ok'}"


def percentile(values: Sequence[float], percent: float) -> float:
    """By the nearest rank: a value that was measured, not one between two."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else math.nan


def latencies(
    name: str, values: Sequence[float], *, p50: float | None = None, p99: float | None = None
) -> Iterator[Figure]:
    """The usual two figures of many milliseconds."""
    yield Figure(f"{name}.p50", statistics.median(values) if values else math.nan, "ms", p50)
    yield Figure(f"{name}.p99", percentile(values, 99), "ms", p99)
