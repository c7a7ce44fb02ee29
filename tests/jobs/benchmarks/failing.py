import math
from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    yield Figure("failing.never_came", math.nan, "ms", 100)
    yield Figure("failing.without_bound", math.nan, "ms")
