"""One measured figure beside what it is held to."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self


class Figure(NamedTuple):
    """`name` is one word. `bound`: the most the value may be (`at_least`: the least); without one it only informs.

    A value of nan says that the measured thing failed; `why` that it was not tried, since something is missing here.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False
    why: str = ""

    @classmethod
    def not_measured(cls, name: str, why: str) -> Self:
        """What this machine lacks the means to measure: no fault of what would have been measured."""
        return cls(name, math.nan, "-", why=why)

    @property
    def measured(self) -> bool:
        return not math.isnan(self.value)

    @property
    def short(self) -> bool:
        """Whether it was measured and misses its bound."""
        if self.bound is None or not self.measured:
            return False
        return self.value < self.bound if self.at_least else self.value > self.bound

    @property
    def failed(self) -> bool:
        """Whether there should be a value to hold to its bound, and is none."""
        return self.bound is not None and not self.measured

    def __str__(self) -> str:
        bound = "-" if self.bound is None else f"{'>=' if self.at_least else '<='}{self.bound:g}"
        verdict = "short" if self.short else "ok" if self.measured else "not measured"
        why = f" ({self.why})" if self.why else ""
        return f"{self.name.replace(' ', '_')} {self.value:.4g} {self.unit.replace(' ', '_')} {bound} {verdict}{why}"


def percentile(values: Sequence[float], percent: float) -> float:
    """By the nearest rank: a value that was measured, not one between two."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)] if values else math.nan


def latencies(
    name: str, values: Sequence[float], *, p50: float | None = None, p99: float | None = None
) -> Iterator[Figure]:
    """The usual two figures of many milliseconds."""
    yield Figure(f"{name}.p50", statistics.median(values) if values else math.nan, "ms", p50)
    yield Figure(f"{name}.p99", percentile(values, 99), "ms", p99)
