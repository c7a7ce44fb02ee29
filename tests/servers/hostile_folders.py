"""Folders as a hostile game makes them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from servers.runtime.deleting import delete_tree


@pytest.fixture
def make_deep(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`_make_deep`; all goes afterwards, since pytest could not delete it."""
    yield _make_deep
    for path in tmp_path.iterdir():
        delete_tree(path)


def _make_deep(top: Path, levels: int, *, letters: int = 20, beside: str = "", bottom: bytes = b"x") -> None:
    """Folders in folders, with `bottom` in a file of the last; `beside`: a folder of that name, not empty, in each."""
    place = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        if beside:
            os.makedirs(f"/proc/self/fd/{place}/{beside}/in")
        os.mkdir("d" * letters, dir_fd=place)
        inner = os.open("d" * letters, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    with open(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=place), "wb") as file:
        file.write(bottom)
    os.close(place)
