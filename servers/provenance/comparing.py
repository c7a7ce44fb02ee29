"""Whether two files are the same, and how two texts differ: bounded, since a game may write anything."""

import os
from collections.abc import Callable, Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate

CHUNK = 1 << 20
MOST_TEXT = 256 << 10  # bytes of a file that is compared line by line
MOST_LINES = 2000  # between the first and the last that differ
MOST_STEPS = 3_000_000  # of the comparison, whose cost grows faster than the number of lines; some tenths of a second
MOST_DIFF = 64 << 10  # bytes
CONTEXT = 3


def are_same(one: int, other: int, *, is_over: Callable[[], bool]) -> bool:
    """Whether the files behind two descriptors have the same content, read from where they stand.

    `is_over` is asked for each MiB; once it is, they count as different.
    """
    while not is_over():
        first, second = os.read(one, CHUNK), os.read(other, CHUNK)
        if first != second:
            return False
        if not first:
            return True
    return False


def read_text(file: int) -> bytes | None:
    """All of it from the beginning, or `None` when it is more than is compared."""
    found = os.pread(file, MOST_TEXT + 1, 0)
    return found if len(found) <= MOST_TEXT else None


def differences(old: str, new: str) -> list[str] | None:
    """The lines of a unified diff without its head, or `None` where the texts differ too much.

    None at all where only the last line's end differs.
    """
    a, b = (text.removesuffix("\n").split("\n") for text in (old, new))
    start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    most = min(len(a), len(b)) - start
    end = next((n for n in range(most) if a[-1 - n] != b[-1 - n]), most)
    if max(len(a), len(b)) - start - end > MOST_LINES:
        return None
    first = max(0, start - CONTEXT)
    last_a, last_b = (len(lines) - max(0, end - CONTEXT) for lines in (a, b))
    try:
        return list(_unified(a[first:last_a], b[first:last_b], first))
    except _TooManySteps:
        return None


class _TooManySteps(Exception):
    pass


class _Matcher(SequenceMatcher[str]):
    """Counts its steps: a step is a line of the one text at a place where the other has it too."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        super().__init__(None, a, b)
        places: dict[str, list[int]] = self.b2j  # type: ignore[attr-defined] # typeshed leaves it out
        self._steps_before = list(accumulate((1 + len(places.get(line, ())) for line in a), initial=0))
        self._left = MOST_STEPS

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        self._left -= self._steps_before[-1 if ahi is None else ahi] - self._steps_before[alo]
        if self._left < 0:
            raise _TooManySteps
        return super().find_longest_match(alo, ahi, blo, bhi)


def _unified(a: Sequence[str], b: Sequence[str], offset: int) -> Iterator[str]:
    for group in _Matcher(a, b).get_grouped_opcodes(CONTEXT):
        (_, a1, _, b1, _), (_, _, a2, _, b2) = group[0], group[-1]
        yield f"@@ -{_range(a1 + offset, a2 + offset)} +{_range(b1 + offset, b2 + offset)} @@"
        for tag, a1, a2, b1, b2 in group:
            if tag == "equal":
                yield from (f" {line}" for line in a[a1:a2])
                continue
            yield from (f"-{line}" for line in a[a1:a2])
            yield from (f"+{line}" for line in b[b1:b2])


def _range(start: int, stop: int) -> str:
    length = stop - start
    return f"{start + 1 if length else start},{length}"
