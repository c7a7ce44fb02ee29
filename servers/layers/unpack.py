"""`python -m servers.layers.unpack ARCHIVE FILENAME FOLDER ROOM`: unpacks one hostile archive, or says why not.

Started by the build job without Django, secrets or database: what a parser's fault could reach is one folder. The last
line it prints is the sentence when it ends with code 3.
"""

import errno
import resource
import sys
from pathlib import Path

from jobs.full_disk import SENTENCE, is_full
from servers.layers.archives import reader
from servers.layers.writer import Refused, Writer, shown

MEMORY = 1 << 30  # bytes; what the largest usual dictionary of xz and 7z needs, several times over
REFUSED = 3
MALFORMED = (None, errno.EINVAL)  # of an OSError: a library's own, or a place that no file has


def main(archive: Path, filename: str, folder: str, room: int | None = None) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        with Writer(folder, packed=archive.stat().st_size, room=room) as into:
            reader(filename)(archive, into)
    except Exception as error:  # the libraries raise whatever a malformed file leads them to
        print(sentence(error, shown(filename)))
        return REFUSED
    return 0


def sentence(error: Exception, filename: str) -> str:
    """Why the archive was not unpacked, and what to do."""
    if isinstance(error, Refused):
        return str(error)
    if is_full(error):
        return SENTENCE
    if isinstance(error, MemoryError):
        return f"“{filename}” needs more than {MEMORY >> 20} MB of memory to unpack. Pack it in an ordinary way."
    if isinstance(error, OSError) and error.errno not in MALFORMED:
        return f"The archive could not be unpacked: {error.strerror}. Ask an admin if that is not its own fault."
    return f"“{filename}” is damaged or no archive of its kind ({type(error).__name__}). Pack it again."


if __name__ == "__main__":
    packed, called, target, *left = sys.argv[1:]
    sys.exit(main(Path(packed), called, target, *map(int, left)))
