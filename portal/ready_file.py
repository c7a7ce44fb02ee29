"""`manage.py demo --json FILE`: where the demo writes its address and accounts once it is ready."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


class ReadyFileError(Exception):
    """The file cannot be written; says what to do."""


class ReadyFile:
    """Whoever waits for the file finds all of it; a device or a pipe stays one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.partial")

    @property
    def _is_device(self) -> bool:
        return self.path.exists() and not self.path.is_file()

    def prepare(self) -> None:
        """Before anything is started: delete what an earlier run wrote, and see whether it can be written again."""
        folder = self.path.absolute().parent
        if not folder.is_dir():
            raise ReadyFileError(f"--json {self.path} is in a folder that does not exist. Make {folder} first.")
        if self.path.is_dir():
            raise ReadyFileError(f"--json {self.path} is a folder. Name a file in it.")
        if self._is_device:
            return
        try:
            self._write("")
            self._partial.unlink()
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ReadyFileError(
                f"--json {self.path} cannot be written ({error.strerror}). Name a file in a folder of yours."
            ) from error

    def write(self, what: dict[str, Any]) -> None:
        """For nobody else to read: there are passwords in it."""
        if self._is_device:
            self.path.write_text(json.dumps(what))
        else:
            self._write(json.dumps(what))
            self._partial.replace(self.path)

    def _write(self, text: str) -> None:
        with suppress(FileNotFoundError):
            self._partial.unlink()
        with open(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
