"""`make demo` and `make test` work where a newcomer types them: from a folder of root's own, and wherever else."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import places
from tests.deploy.host import PYTHONS, why_not
from tests.fresh import Fresh
from tests.generated import SOAK, cases

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root: run `sudo make test`")


@pytest.fixture(scope="session")
def system_venv() -> tuple[Path, str]:
    """An environment that other users can enter, made once by `make` with the system's Python."""
    python = "/usr/bin/python3"
    folder = Path("/var/tmp/left4me-places")
    folder.mkdir(mode=0o755, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("deploy/venv.py", "Makefile", "requirements.txt", "requirements-dev.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            if not (folder / name).exists() or (folder / name).read_bytes() != (places.BASE / name).read_bytes():
                shutil.copy(places.BASE / name, folder / name)
        command = ["make", "-C", str(folder), f"PYTHON={python}", ".venv/dev"]
        done = subprocess.run(command, capture_output=True, text=True, umask=0o022)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / ".venv", python


@pytest.mark.soak
@pytest.mark.parametrize("place", places.PLACES[: cases(1, len(places.PLACES))], ids=lambda place: place.name)
def test_both_commands_work_from(place: places.Place, request: pytest.FixtureRequest) -> None:
    venv = (Path(sys.prefix), sys.executable)  # at hand, so that the gate is quick; below a folder of root's, perhaps
    if place != places.PLACES[0]:
        venv = request.getfixturevalue("system_venv")
    with places.Checkout(place, *venv) as checkout:
        assert checkout.outer.stat().st_mode & 0o777 == 0o700
        checkout.demo()
        checkout.test()


if SOAK:  # minutes each, since pip fetches everything

    @pytest.mark.soak
    @pytest.mark.host
    @pytest.mark.skipif(bool(why_not()), reason=why_not())
    @pytest.mark.parametrize("suite", PYTHONS)
    def test_both_commands_work_on_a_fresh(suite: str) -> None:
        with Fresh(suite) as checkout:
            assert checkout.outer.stat().st_mode & 0o777 == 0o700
            checkout.demo()
            checkout.test()
