"""state.json: what a keeper knows of its game, for whoever asks (`servers/runtime/local.py`)."""

import json
import os
from typing import Any

from .identity import boot_id, own_pid, start_ticks

STATE_NAME = "state.json"


class StateFile:
    """Kept in the folder behind the descriptor `folder` and replaced as a whole at every change."""

    def __init__(self, folder: int, **fixed: Any) -> None:
        """`fixed`: entries that stay as they are while this keeper lives."""
        pid = own_pid()
        self._folder = folder
        self._values = {"keeper": pid, "ticks": start_ticks(pid), "boot": boot_id(), **fixed}

    def write(self, **changed: Any) -> None:
        """Change entries and write them. On a full disk the file stays as it was: a game need not end for that."""
        self._values |= changed
        replace(self._folder, self._values)


def replace(folder: int, values: dict[str, Any]) -> None:
    """Write state.json in one step. It means nothing after a crash of the machine, so nothing is flushed."""
    new = STATE_NAME + ".new"
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file)
        os.rename(new, STATE_NAME, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        pass
