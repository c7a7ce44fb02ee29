"""Layers whose files are there at once: a test of something else need not build them."""

import hashlib
from collections.abc import Mapping

from portal.models import User
from servers.layers import stack
from servers.models import Layer, LayerBuild, LayerFile


def layer(by: User, name: str, files: Mapping[str, str | bytes], game: str = "practice") -> Layer:
    """A layer of `by`'s with these files, by path."""
    digest = hashlib.sha256(repr((name, files)).encode()).hexdigest()
    for path, content in files.items():
        place = stack.folder(digest) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
    made = Layer.objects.create(slug=name.lower(), name=name, game=game, kind="files", owner=by)
    made.build = LayerBuild.objects.create(layer=made, digest=digest, size_bytes=1, file_count=len(files))
    made.save()
    LayerFile.objects.bulk_create(LayerFile(build=made.build, path=path, size_bytes=1) for path in files)
    return made
