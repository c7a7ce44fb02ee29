"""`python -m servers.layers.unpack ARCHIVE FILENAME FOLDER`: unpacks one hostile archive, or says why not.

Started by the build job without Django, secrets or database: what a parser's fault could reach is one folder. The last
line it prints is the sentence when it ends with code 3.
"""

import resource
import sys
from pathlib import Path

from servers.layers.archives import reader
from servers.layers.writer import Refused, Writer, shown

MEMORY = 1 << 30  # bytes; what the largest usual dictionary of xz and 7z needs, several times over
REFUSED = 3


def main(archive: Path, filename: str, folder: str) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        with Writer(folder, packed=archive.stat().st_size) as into:
            reader(filename)(archive, into)
    except Refused as error:
        print(error)
    except OSError as error:
        print(
            f"The archive could not be unpacked: {error.strerror or error}. Ask an admin if that is not its own fault."
        )
    except MemoryError:
        print(f"“{shown(filename)}” needs more than {MEMORY >> 20} MB of memory to unpack. Pack it in an ordinary way.")
    except Exception as error:  # the libraries raise whatever a malformed file leads them to
        print(f"“{shown(filename)}” is damaged or no archive of its kind ({type(error).__name__}). Pack it again.")
    else:
        return 0
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
