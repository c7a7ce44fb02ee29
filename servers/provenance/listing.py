"""The files of a version of a game, listed once for pages that show where each file of a server comes from."""

import os
from collections.abc import Callable, Iterator
from itertools import islice

from servers import services
from servers.models import Installation

MOST = 200_000  # files; Left 4 Dead 2 has tens of thousands
PATH_BYTES = 1000  # what an index of the database takes is little more


def list_files(installation: Installation, *, check: Callable[[], None]) -> None:
    """Store which files the version has, unless they are stored already. `check` is called for each; what it raises
    ends it, and the next call begins again."""
    if installation.file_count is None:
        services.record_installation_files(installation=installation, files=islice(_files(installation, check), MOST))


def _files(installation: Installation, check: Callable[[], None]) -> Iterator[tuple[str, int]]:
    """Path and bytes of each; one whose name cannot be shown is left out."""
    top = str(services.folder(installation))
    for folder, _, names in os.walk(top):
        check()
        for name in names:
            check()
            path = os.path.relpath(os.path.join(folder, name), top)
            if path.isprintable() and len(path.encode()) <= PATH_BYTES:
                yield path, os.lstat(os.path.join(folder, name)).st_size
