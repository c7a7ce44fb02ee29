"""Where a checkout cannot be used by who starts it, one sentence says so, with the way out."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from portal.var_folder import why_unusable

# Root that respects the rights of files, so that this Python can be below a folder that only root may enter.
BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"] if os.geteuid() == 0 else []


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder that we may read but not write, and whose key we may not read."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "secret_key").touch(0o600)
    if BOUND:
        os.chown(folder / "secret_key", pwd.getpwnam("nobody").pw_uid, -1)
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    else:
        (folder / "secret_key").chmod(0)
        folder.chmod(0o555)
    return folder


def run(*command: str, cwd: Path = settings.BASE_DIR, **environment: str) -> tuple[int, str]:
    """Exit status and what was written to standard error."""
    kept = {name: value for name, value in os.environ.items() if name != "LEFT4ME_SECRET_KEY"}
    done = subprocess.run(
        [*BOUND, sys.executable, *command], cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("given", [{}, {"LEFT4ME_SECRET_KEY": "given"}], ids=["its key", "its lock"])
def test_the_demo_in_another_users_folder(given: dict[str, str], theirs: Path) -> None:
    status, told = run("manage.py", "demo", LEFT4ME_VAR=str(theirs), **given)
    assert status == 1
    assert f"{theirs} cannot be used (Permission denied). Run this as {theirs.owner()}" in told
    assert "Traceback" not in told and told.count("\n") == 1


def test_the_environment_in_another_users_folder(theirs: Path) -> None:
    status, told = run(str(settings.BASE_DIR / "deploy" / "venv.py"), "requirements.txt", "stamp", cwd=theirs)
    assert status == 1
    assert told.startswith(f"{theirs} cannot be written. Copy the checkout") and told.count("\n") == 1


def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    told = why_unusable(tmp_path, OSError(30, "Read-only file system"))
    assert told == (
        f"{tmp_path} cannot be used (Read-only file system). Set LEFT4ME_VAR to a folder of yours, or copy the checkout"
        " to one."
    )
