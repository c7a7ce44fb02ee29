"""Placeholders such as `{port.game}` in a definition's templates: found by one regex and substituted once."""

import re
from collections.abc import Callable, Iterator

_PLACEHOLDER = re.compile(r"\{([a-z]+)(?:\.([a-z][a-z0-9_]*))?\}")
PLAIN = frozenset({"merged", "python", "name", "address"})


def find(template: str) -> Iterator[tuple[str, str, bool]]:
    """Each placeholder as (kind, key, stands between blanks); `{port.game}` is ("port", "game", …)."""
    for match in _PLACEHOLDER.finditer(template):
        before, after = template[: match.start()][-1:], template[match.end() :][:1]
        yield match[1], match[2] or "", not before.strip() and not after.strip()


def substitute(template: str, value: Callable[[str, str], str]) -> str:
    """`template` with each placeholder replaced by `value(kind, key)`; what comes in is not looked at again."""
    return _PLACEHOLDER.sub(lambda match: value(match[1], match[2] or ""), template)
