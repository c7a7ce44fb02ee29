"""A layer's files from a script: run in the machine's sandbox, then taken over, plain files and folders only."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jobs.run import Run
from servers.layers.writer import CHUNK, Refused, Writer, shown
from servers.models import Layer
from servers.runtime.beneath import open_beneath
from servers.runtime.scripts import Script, built, require_room

if TYPE_CHECKING:
    from servers.layers.build import Source


def from_script(run: Run, layer: Layer, source: "Source", into: Path) -> None:
    """Raises `Refused` that names what may not be in a layer, and `RuntimeFailure`."""
    script = Script(name=str(layer.pk), text=layer.source["script"], network=layer.source["network"])
    run.log(f"Running the script, {'with' if script.network else 'without'} the network.")

    def check() -> None:
        run.check()
        require_room(into)

    with built(script, on_line=run.log, check=run.check) as made, Writer(str(into), room=source.room) as writer:
        run.log("The script has ended. Taking over what it left.")
        take_over(made, writer, check=check)


def take_over(made: Path, into: Writer, *, check: Callable[[], None]) -> None:
    """Copy what is below `made`, whose owner is somebody else. A file of several names becomes as many files."""
    for parent, folders, files, descriptor in os.fwalk(made, onerror=_give_up):
        check()
        for name in [*folders, *files]:
            path = os.path.relpath(os.path.join(parent, name), made)
            kind = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                into.folder(path)
            elif stat.S_ISREG(kind):
                into.file(path, _chunks(descriptor, name, check))
            else:
                raise Refused(f"“{shown(path)}” is a link or a device. Leave only files and folders.")


def _chunks(parent: int, name: str, check: Callable[[], None]) -> Iterator[bytes]:
    with open(open_beneath(parent, name, os.O_RDONLY), "rb") as file:
        while chunk := file.read(CHUNK):
            check()
            yield chunk


def _give_up(error: OSError) -> NoReturn:
    raise error
