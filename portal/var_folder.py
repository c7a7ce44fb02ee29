"""What to tell somebody whose `var/`, where a checkout keeps everything, is another user's or cannot be written."""

import errno
import pwd
from pathlib import Path


def why_unusable(folder: Path, error: OSError) -> str:
    """One sentence with the way out, for the error that `folder`, or a file in it, has just caused."""
    way = "Set LEFT4ME_VAR to a folder of yours, or copy the checkout to one."
    if error.errno in (errno.EACCES, errno.EPERM):
        way = f"Run this as {_owner(folder)}, who owns it, or set LEFT4ME_VAR to a folder of yours."
    return f"{folder} cannot be used ({error.strerror}). {way}"


def _owner(folder: Path) -> str:
    """Of the folder, or of the one that it would be made in."""
    try:
        number = next(place for place in (folder, *folder.parents) if place.exists()).stat().st_uid
        return pwd.getpwuid(number).pw_name
    except OSError:
        return "the user"
    except KeyError:
        return f"uid {number}"
