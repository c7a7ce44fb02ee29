"""`make bench`: print `name value unit bound ok|short`, a line a figure; exit with 1 when one is short.

`python -m tests.bench [NAME…]` runs the modules of that name. They get a PostgreSQL of their own, which writes to
disk as a real one does, with an empty, migrated database, and Django set up.
"""

import importlib
import os
import pkgutil
import sys
import tempfile
from pathlib import Path

from portal.postgres import running
from tests import bench
from tests.bench.figure import Figure

TOOLS = {"__main__", "figure"}


def main(names: list[str]) -> int:
    known = {module.name for module in pkgutil.iter_modules(bench.__path__)} - TOOLS
    if unknown := set(names) - known:
        print(f"No such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}.")
        return 2
    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as folder:
        os.chmod(folder, 0o755)  # PostgreSQL's user must reach its own folder
        with running(Path(folder, "postgres"), durable=True) as postgres:
            _set_up(Path(folder), postgres.url)
            short = [_run(name) for name in sorted(names or known)]
    return int(any(short))


def _set_up(folder: Path, database: str) -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATABASE_URL": database,
        "LEFT4ME_VAR": str(folder),
        "LEFT4ME_SECRET_KEY": "for benchmarks only",
        "LEFT4ME_LOG_LEVEL": "WARNING",
    }
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)


def _run(name: str) -> bool:
    """Print the figures of one module; whether one of them is short."""
    short = False
    for given in importlib.import_module(f"tests.bench.{name}").figures():
        figure = Figure(*given)
        print(figure, flush=True)
        short |= figure.short
    return short


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
