"""How fast the machine is at the moment: bounds on times are for the machine they were set on, and scaled by this.

Machines differ by a factor of two, and a shared one does within minutes. Bounds on ratios and counts are not scaled.
"""

import json
import time

REFERENCE = 12.0  # microseconds; docs/performance.md
WORK = {"lines": list(range(100)), "text": "x" * 100}
TIMES, REPEATS = 1000, 5
FRESH = 10.0  # seconds for which one measurement is good
MOST = 2.0  # bounds are doubled at most: from a machine slower than that little can be told


def round_trip() -> float:
    """Microseconds to write and read half a kilobyte of JSON: the best of some rounds."""
    rounds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        for _ in range(TIMES):
            json.loads(json.dumps(WORK))
        rounds.append((time.perf_counter() - began) / TIMES * 1e6)
    return min(rounds)


class Pace:
    """Call it when a figure was measured: how many times slower the machine was than the reference, at least 1."""

    def __init__(self) -> None:
        self._before = self._now = round_trip()
        self._at = time.monotonic()

    def __call__(self) -> float:
        if time.monotonic() - self._at > FRESH:
            self._before, self._now = self._now, round_trip()
            self._at = time.monotonic()
        return min(MOST, max(1.0, (self._before + self._now) / 2 / REFERENCE))
