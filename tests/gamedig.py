"""npm's gamedig: a game query written by others, which tests hold ours and the practice game against."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.games_cache import CACHE

HERE = Path(__file__).parent


def gamedig(kind: str, host: str, port: int, *options: str) -> dict[str, Any]:
    """What `gamedig --type KIND HOST:PORT` reports; `{"error": …}` when the game does not answer.

    Installed at first use as package-lock.json pins it. Without npm the test is skipped, on CI it fails.
    """
    command = [_installed() / "node_modules" / ".bin" / "gamedig", "--type", kind, *options, f"{host}:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def _installed() -> Path:
    if not shutil.which("npm"):
        if os.environ.get("CI"):
            pytest.fail("npm is missing, and on CI this test may not be skipped.")
        pytest.skip("npm is not installed; gamedig needs it (apt-get install npm).")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / f"gamedig-{hashlib.sha256(lock).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            (folder / "installed").touch()
    return folder
