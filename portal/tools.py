"""Programs of the system that the portal's commands cannot do without, each with the command that installs it."""

import shutil

PACKAGES = {"setpriv": "util-linux"}


class MissingTool(Exception):
    """A program is not installed; the message is the command that installs it."""


def require(name: str) -> None:
    """Raise `MissingTool` unless the program `name` is there."""
    if not shutil.which(name):
        raise MissingTool(f"{name} is missing. Install it: sudo apt-get install {PACKAGES[name]}")
