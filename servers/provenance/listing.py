"""The files of a version of a game, listed once for pages that show where each file of a server comes from."""

import os
from collections.abc import Iterator
from itertools import islice

from jobs.run import Run
from servers import services
from servers.models import Installation

MOST = 200_000  # files; Left 4 Dead 2 has tens of thousands
PATH_BYTES = 1000  # what an index of the database takes is little more


def list_files(run: Run, installation: Installation) -> None:
    """Store which files the version has, unless they are stored already."""
    if installation.file_count is None:
        services.record_installation_files(installation=installation, files=islice(_files(run, installation), MOST))


def _files(run: Run, installation: Installation) -> Iterator[tuple[str, int]]:
    """Path and bytes of each; one whose name cannot be shown is left out."""
    top = str(services.folder(installation))
    for folder, _, names in os.walk(top):
        run.check()
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), top)
            if path.isprintable() and len(path.encode()) <= PATH_BYTES:
                yield path, os.lstat(os.path.join(folder, name)).st_size
