"""Files on their way from a browser: begun, continued where they stopped, finished; their bytes lie in STATE_DIR."""

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from servers.errors import UploadRefused
from servers.layers.writer import NAMES, Refused, checked
from servers.models import Upload
from servers.services.layer_cleaning import stale_since
from servers.services.quotas import locked_member, note_use, require_room

if TYPE_CHECKING:
    from portal.models import User

PIECE = 8 << 20  # bytes in one request
MOST_OPEN = 10  # uploads of one member that no layer was built from yet


def new_key(owner: int) -> UUID:
    """A key that tells whose it is, so that pieces can be shared out by member before the database is asked.

    Half of it is the member's number and chance, half proves that the portal made it.
    """
    told = owner.to_bytes(4) + secrets.token_bytes(4)
    return UUID(bytes=told + _proof(told))


def member_of(key: str) -> int | None:
    """The number of the member that the portal made this key for; None when it did not."""
    try:
        given = UUID(key).bytes
    except ValueError:
        return None
    return int.from_bytes(given[:4]) if constant_time_compare(given[8:], _proof(given[:8])) else None


def _proof(told: bytes) -> bytes:
    return salted_hmac("servers.uploads", told).digest()[:8]


def place_of(upload: Upload) -> Path:
    """Where its bytes are."""
    return Path(settings.STATE_DIR) / "uploads" / str(upload.pk)


def begin_upload(*, by: "User", filename: str, size: int) -> Upload:
    """Raises `UploadRefused` (kind of file, size, too many under way), `DiskLimit`."""
    if "/" in filename or not filename.lower().endswith(NAMES):
        raise UploadRefused(f"Choose a file that ends in one of {', '.join(NAMES)}.")
    try:
        checked(filename)
    except Refused as error:
        raise UploadRefused(str(error)) from error
    if not 0 < size <= settings.UPLOAD_MAX:
        raise UploadRefused(f"A file may have up to {settings.UPLOAD_MAX >> 20} MB and may not be empty.")
    with locked_member(by) as owner:
        if Upload.objects.filter(owner=owner).count() >= MOST_OPEN:
            raise UploadRefused(
                f"{MOST_OPEN} uploads of yours are under way or not used yet. Give one up on the page “Layers”, "
                "or wait: what nobody continues goes by itself after a day."
            )
        require_room(owner, size)
        upload = Upload.objects.create(key=new_key(owner.pk), owner=owner, filename=filename, size_bytes=size)
        place_of(upload).parent.mkdir(parents=True, exist_ok=True)
        place_of(upload).touch(mode=0o640)
    note_use(by.pk)
    return upload


def continue_upload(*, upload: Upload, offset: int, piece: bytes) -> int:
    """Write a piece at `offset`, which has to be where the last one ended; returns where the next one begins.

    Raises `UploadRefused`. A piece that was written but not recorded is written again.
    """
    with transaction.atomic():
        fresh = Upload.objects.select_for_update().filter(pk=upload.pk).first()
        if fresh is None or fresh.sha256:
            raise UploadRefused("This upload is over. Begin again.")
        if offset != fresh.received:
            raise UploadRefused(f"The next piece begins at {fresh.received}, not at {offset}.")
        if not 0 < len(piece) <= min(PIECE, fresh.size_bytes - offset):
            raise UploadRefused(f"A piece has up to {PIECE} bytes and ends with the file.")
        with place_of(fresh).open("r+b") as file:
            file.seek(offset)
            file.write(piece)
        fresh.received, fresh.touched_at = offset + len(piece), timezone.now()
        fresh.save(update_fields=["received", "touched_at"])
    return fresh.received


def finish_upload(*, upload: Upload, sha256: str) -> None:
    """All is here; `sha256` is what the browser computed, and the build compares. Raises `UploadRefused`."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UploadRefused("The checksum has to be a SHA-256 of 64 small hexadecimal digits.")
    whole = Upload.objects.filter(pk=upload.pk, received=upload.size_bytes)
    if not whole.update(sha256=sha256, touched_at=timezone.now()):
        raise UploadRefused("Not all of the file is here yet. Send the rest first.")


def discard_upload(*, key: str, owner: int) -> None:
    """Forget an upload of the member of that number, and its bytes; nothing happens when it is gone already."""
    for upload in Upload.objects.filter(pk=key, owner=owner):
        place_of(upload).unlink(missing_ok=True)
        upload.delete()
        note_use(upload.owner_id)


def discard_stale_uploads() -> int:
    """Those nobody continued for a day; returns how many."""
    stale = list(Upload.objects.filter(touched_at__lt=stale_since()))
    for upload in stale:
        discard_upload(key=str(upload.pk), owner=upload.owner_id)
    return len(stale)
