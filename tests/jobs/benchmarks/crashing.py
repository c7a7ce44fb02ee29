from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    yield Figure("crashing.before", 1, "s", 2)
    raise RuntimeError("this benchmark crashes")
