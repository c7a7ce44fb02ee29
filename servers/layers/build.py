"""One build of a layer: its files made in a folder of their own, sealed, moved into place whole, then recorded."""

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from jobs import process
from jobs.registry import JobError
from jobs.run import Run
from servers import games, services
from servers.layers import stack, workshop
from servers.layers.addons import look_into
from servers.layers.content import Content, seal
from servers.layers.placing import put_where_wanted
from servers.layers.scripted import from_script
from servers.layers.unpack import REFUSED
from servers.layers.writer import CHUNK, Bounds, Refused, Writer, too_little
from servers.models import Layer, Upload
from servers.runtime.deleting import delete_tree
from servers.services.quotas import reserved
from servers.services.uploads import place_of

UNPACK_SECONDS = 3600


@dataclass(frozen=True)
class Source:
    """`upload`: key of the file an archive is in. `room`: bytes that the build may take."""

    upload: str
    room: int


def layers_folder() -> Path:
    return Path(settings.STATE_DIR) / "layers"


def build(run: Run, layer: Layer, upload: str) -> None:
    """Make the layer's files and record them; a build that fails leaves nothing. Raises `JobError`, `ServerError`."""
    partial = stack.partial_folder(layer.pk)  # one job at a time builds a layer
    with reserved(layer, Bounds().size) as room:
        with placing():  # and so not in the midst of the cleaning job
            for left in (path for path, number in stack.partials_here().items() if number == layer.pk):
                delete_tree(left)
            partial.mkdir(parents=True)
        try:
            _build(run, layer, Source(upload, room), partial)
        except Refused as error:
            raise JobError(str(error)) from error
        finally:
            delete_tree(partial)
        if upload:
            services.discard_upload(key=upload, owner=layer.owner_id)


def _build(run: Run, layer: Layer, source: Source, partial: Path) -> None:
    SOURCES[Layer.Kind(layer.kind)](run, layer, source, partial)
    game = games.get(layer.game)
    put_where_wanted(partial, game)
    content = seal(partial, check=run.check)
    if not content.files:
        raise JobError("There is no file in it. Add one, then build again.")
    look_into(content, partial, game, check=run.check)
    _put_in_place(layer, content, partial)
    run.log(f"Built: {len(content.files)} files, {content.size / 2**20:.1f} MB. Servers take it at their next start.")


def _put_in_place(layer: Layer, content: Content, partial: Path) -> None:
    """The same content may be there already, of this layer or another."""
    with placing():
        target = stack.folder(content.digest)
        if not target.is_dir():
            partial.rename(target)
        services.finish_build(layer=layer, content=content)


@contextmanager
def placing() -> Iterator[None]:
    """Keeps the cleaning job from deleting a folder between its use and the row that says so."""
    layers_folder().mkdir(parents=True, exist_ok=True)
    with (layers_folder() / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _from_files(run: Run, layer: Layer, source: Source, into: Path) -> None:
    with Writer(str(into), room=source.room) as writer:
        for name, text in layer.source.get("files", {}).items():
            writer.file(name, [text.encode()])


def _from_archive(run: Run, layer: Layer, source: Source, into: Path) -> None:
    row = (
        Upload.objects.filter(pk=source.upload, owner=layer.owner).exclude(sha256="").first() if source.upload else None
    )
    if row is None:
        if layer.build:
            raise JobError("The uploaded file was used up by an earlier build. Upload it again to build anew.")
        raise JobError("The uploaded file is gone. Upload it again.")
    archive = place_of(row)
    run.log(f"Checking {row.filename}, {row.size_bytes / 2**20:.1f} MB.")
    if _sha256(run, archive) != row.sha256:
        raise JobError(f"{row.filename} was damaged on its way here. Upload it again.")
    if row.filename.lower().endswith(".vpk"):
        if row.size_bytes > source.room:
            raise JobError(f"{row.filename} is more than {too_little(source.room)}")
        shutil.copyfile(archive, into / Path(row.filename).name)
        return
    run.log("Unpacking.")
    argv = [sys.executable, "-m", "servers.layers.unpack", str(archive), row.filename, str(into), str(source.room)]
    ended = process.run(argv, timeout=UNPACK_SECONDS, cwd=settings.BASE_DIR, check=run.check)
    if ended.code == REFUSED:
        raise JobError((ended.output.strip().splitlines() or [""])[-1])
    if ended.code:
        raise JobError(
            "The archive could not be unpacked: unpacking it took more than it may. Pack it anew, or smaller."
        )


def _from_workshop(run: Run, layer: Layer, source: Source, into: Path) -> None:
    game = games.get(layer.game)
    if not game.addons or not game.appid:
        raise JobError(f"{game.name} takes no add-ons from the Steam Workshop.")
    items = workshop.fetch(run, list(layer.source.get("ids", [])), game, into, room=source.room)
    services.record_items(layer=layer, items=items)


def _sha256(run: Run, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            run.check()
    return digest.hexdigest()


SOURCES: dict[Layer.Kind, Callable[[Run, Layer, Source, Path], None]] = {
    Layer.Kind.FILES: _from_files,
    Layer.Kind.ARCHIVE: _from_archive,
    Layer.Kind.WORKSHOP: _from_workshop,
    Layer.Kind.SCRIPT: from_script,
}
