"""Loaded before pytest-django reads the settings: a PostgreSQL and a state folder of this run's own."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from portal.postgres import Postgres

ROOT = Path(tempfile.mkdtemp(prefix="left4me-test-"))
ROOT.chmod(0o755)
(ROOT / "static").mkdir()
os.environ["LEFT4ME_VAR"] = str(ROOT)
os.environ["LEFT4ME_SECRET_KEY"] = "for tests only"
os.environ["LEFT4ME_LOG_LEVEL"] = "WARNING"
postgres: Postgres | None = None

# Tests side by side inherit what the process that shares them out has set here: each still gets its own, to crash.
if not os.environ.get("DATABASE_URL") or "LEFT4ME_TEST_POSTGRES" in os.environ:
    os.environ["LEFT4ME_TEST_POSTGRES"] = "embedded"
    postgres = Postgres(ROOT / "postgres", durable=False)
    postgres.start()
    os.environ["DATABASE_URL"] = postgres.url


@atexit.register
def _clean_up(owner: int = os.getpid()) -> None:
    if os.getpid() != owner:  # a forked child also runs exit handlers
        return
    if postgres:
        postgres.stop()
        postgres.remove()  # parts of it may be outside ROOT
    shutil.rmtree(ROOT, ignore_errors=True)
