"""A request that waits for something outside, such as a game's answer, lets others go on meanwhile.

Whoever bounds how many requests are at work (portal/turns.py) sets `on_pause`; whoever waits calls `pause` before.
"""

from collections.abc import Callable
from contextvars import ContextVar

on_pause: ContextVar[Callable[[], object]] = ContextVar("on_pause", default=lambda: None)


def pause() -> None:
    on_pause.get()()
