"""How much a benchmark does: all of it, or under `python -m tests.bench --mini` just enough to see that it runs."""

import os
from typing import TypeVar

VARIABLE = "LEFT4ME_BENCH_MINI"
MINI = os.environ.get(VARIABLE) == "1"
Size = TypeVar("Size")


def scaled(full: Size, mini: Size) -> Size:
    """`full`, or `mini` in a miniature run, whose figures mean nothing."""
    return mini if MINI else full
