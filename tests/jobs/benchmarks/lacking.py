from collections.abc import Iterator

from tests.bench.figure import Figure


def figures() -> Iterator[Figure]:
    yield Figure.not_measured("lacking.proxy", "no proxy is installed")
