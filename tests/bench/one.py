"""Runs one benchmark on the database that `tests.bench` made for it: `python -m tests.bench.one MODULE`."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterable

from tests.bench.figure import Figure
from tests.bench.scale import MINI

MISSED = 3  # the exit code when a figure is short or failed; a crash has Python's own


def environment(folder: str, database: str) -> dict[str, str]:
    """What a benchmark's processes see; `database`: its address."""
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": database,
        "LEFT4ME_VAR": folder,
        "LEFT4ME_SECRET_KEY": "for benchmarks only",
        "LEFT4ME_LOG_LEVEL": "WARNING",
    }


def report(figures: Iterable[Figure]) -> bool:
    """Print each figure; whether one misses. A miniature run only needs them to be there."""
    missed = False
    for figure in figures:
        print(figure, flush=True)
        missed |= figure.failed or (figure.short and not MINI)
    return missed


def main(module: str) -> int:
    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as folder:
        os.chmod(folder, 0o755)  # a game's user must reach its own folder
        os.environ |= environment(folder, os.environ["DATABASE_URL"])
        import django

        django.setup()
        return MISSED * report(importlib.import_module(module).figures())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
