"""What a member uses on disk, all in one sum, and whether there is room for more.

Counted is what exists: the uploads at the size they will have, every build that is kept, what builds under way may
write, and the servers' own files, also of deleted servers that are kept. Whatever adds to it holds the member's row
(`locked_member`), which comes before that of a server, as in a suspension.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F, Sum

from jobs import events
from servers.disk import DiskUse, last_known, limit_of, uncounted
from servers.errors import DiskLimit
from servers.models import Layer, LayerBuild, Server, Upload
from servers.sizes import PER_FILE, in_words

if TYPE_CHECKING:
    from portal.models import User


@contextmanager
def locked_member(user: "User") -> Iterator["User"]:
    """A transaction that holds the member's row, read afresh, which puts in order whatever adds to what they have.

    `no_key`, since the audit trail refers to the row.
    """
    with transaction.atomic():
        yield get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)


def disk_use(owner: "User", *, besides: Layer | None = None, reader: "User | None" = None) -> DiskUse:
    """All that exists now; `besides`: without what a build of that layer has reserved. `reader`: who is told."""
    stored = F("size_bytes") + F("file_count") * PER_FILE
    reserving = Layer.objects.filter(owner=owner).exclude(pk=besides.pk if besides else 0)
    sums = (
        LayerBuild.objects.filter(layer__owner=owner).aggregate(total=Sum(stored)),
        Upload.objects.filter(owner=owner).aggregate(total=Sum("size_bytes")),
        reserving.aggregate(total=Sum("building_bytes")),
        Server.objects.filter(owner=owner).aggregate(total=Sum("disk_bytes")),
    )
    used = sum(one["total"] or 0 for one in sums)
    return DiskUse(used=used, limit=limit_of(owner), uncounted=uncounted(owner, used, reader))


def require_room(owner: "User", size: int) -> None:
    """Raise `DiskLimit` unless `size` bytes more are within the limit. The caller holds the member's row."""
    use = disk_use(owner, reader=owner)
    if use.left is not None and size > use.left:
        raise too_little(owner, use, f"and this needs {in_words(size)}")


def refuse_beyond(owner: int, *, by: "User | None" = None) -> None:
    """Raise `DiskLimit` when nothing of theirs may start any more. `by`: who is told."""
    user = get_user_model().objects.get(pk=owner)
    use = disk_use(user, reader=by)
    if use.is_beyond:
        raise too_little(user, use, "so nothing more is started or built")


def too_little(owner: "User", use: DiskUse, why: str) -> DiskLimit:
    return DiskLimit(f"{owner} uses {use.room}, {why}. {use.way_out}")


@contextmanager
def reserved(layer: Layer, most: int) -> Iterator[int]:
    """Bytes that one build of the layer may take, `most` or what is left: nobody else of its owner's gets them.

    Raises `DiskLimit`. What a killed build has reserved stays so until its files are cleaned up.
    """
    with locked_member(layer.owner) as owner:
        use = disk_use(owner, besides=layer)
        room = most if use.left is None else min(most, use.left)
        if not room:
            raise too_little(owner, use, "and another build may be taking the rest of it")
        Layer.objects.filter(pk=layer.pk).update(building_bytes=room)
    try:
        yield room
    finally:
        Layer.objects.filter(pk=layer.pk).update(building_bytes=0)
        note_use(layer.owner_id)


def note_use(owner: int) -> DiskUse:
    """Count and note it for the pages; who has reached or left a bound is told by those that show their servers."""
    user = get_user_model().objects.get(pk=owner)
    before, use = last_known(user), disk_use(user)
    if use.used != before.used:
        get_user_model().objects.filter(pk=owner).update(disk_used=use.used)
    if (use.is_near, use.is_beyond) != (before.is_near, before.is_beyond):
        events.publish(f"user:{owner}", *(server.topic for server in Server.objects.present().filter(owner=owner)))
    return use
