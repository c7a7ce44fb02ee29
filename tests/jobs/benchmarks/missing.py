from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    yield Figure("missing.slow", 12.3456, "ms", 10)
    yield Figure("missing.few", 1, "times", 2, at_least=True)
