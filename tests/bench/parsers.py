"""How long each parser of hostile text takes for 1 MiB of what slows it most, and how many times that of 256 KiB."""

from collections.abc import Iterator

from tests.bench.figure import Figure
from tests.bench.scale import scaled

SOUGHT, SIZE, NAME = scaled((64 << 10, 1 << 20, "1_MiB"), (1 << 14, 1 << 14, "16_KiB"))


def figures() -> Iterator[Figure]:
    from tests.parsers import GROWTH, PARSERS, climb, slowest

    for parser in PARSERS:
        measured = climb(parser, slowest(parser, SOUGHT).unit, SIZE)
        yield Figure(f"parsers.{parser.name}.{NAME}", measured.seconds * 1000, "ms")
        yield Figure(f"parsers.{parser.name}.{NAME}_to_a_quarter", measured.growth, "times", GROWTH)
