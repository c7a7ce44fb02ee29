"""How many generated cases a test runs: a seeded sample in the gate, all of them under `make soak SEED=N`."""

import os
from random import Random

SOAK = os.environ.get("LEFT4ME_SOAK") == "1"
SEED = int(os.environ.get("LEFT4ME_SEED", "1"))


def cases(sample: int, full: int) -> int:
    """`sample` in the gate, `full` in a soak."""
    return full if SOAK else sample


def dice(*key: object) -> Random:
    """Chance that the seed and `key` decide, so that a failure is found again by the seed that pytest printed."""
    return Random(repr((SEED, *key)))
