"""The program of left4me-measure.service: counts what servers' own files take, on a real host.

A game's files belong to another user than the portal's, to which a game can close its folders. This program may read
every folder, and sees little else of the machine (deploy/units/left4me-measure.service). It has no settings and no
database. On a connection of the socket that systemd hands over it reads one line and answers with several, each with
what was counted so far, the last one with `is_done`:

    {"name": "arena", "enough": 1073741824}                              `enough` as in `Measure`, or null
    {"size": 4096, "is_cut": false, "is_deep": false, "is_done": true}
"""

import json
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

from servers.runtime.measuring import Measure, own_folders

PLACE = Path("/var/lib/left4me/runtime")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")  # of a server's name
LISTENER = 3  # the descriptor that systemd hands over (sd_listen_fds(3))
AT_ONCE = 4  # threads, each with one connection
PATIENCE = 5.0  # seconds for whoever asks to write its line, and to take an answer
LONGEST, TELL_EVERY = 20.0, 0.5  # seconds
LINE_MOST = 500  # bytes


def serve(listener: socket.socket, place: Path = PLACE) -> None:
    """Answer one connection after the other, for ever."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(PATIENCE)
            try:
                answer(connection, place)
            except (OSError, ValueError, KeyError, TypeError) as error:  # whoever asks reads no end, and counts itself
                print(f"An answer was given up: {error!r}", flush=True)


def answer(connection: socket.socket, place: Path) -> None:
    """Raises `OSError`, and `ValueError`, `KeyError` or `TypeError` for what is no question."""
    with connection.makefile("rb") as lines:
        asked = json.loads(lines.readline(LINE_MOST))
    if not asked["name"] or not LETTERS.issuperset(asked["name"]) or type(asked["enough"]) not in (int, type(None)):
        raise ValueError("not a server's name and a number")
    began = told = time.monotonic()
    with closing(Measure(own_folders(place / asked["name"]), enough=asked["enough"])) as measure:
        while not measure.step():
            now = time.monotonic()
            if now - began > LONGEST:
                measure.is_cut = True
                break
            if now - told > TELL_EVERY:
                tell(connection, measure, is_done=False)
                told = now
        tell(connection, measure, is_done=True)


def tell(connection: socket.socket, measure: Measure, *, is_done: bool) -> None:
    found = {"size": measure.size, "is_cut": measure.is_cut, "is_deep": measure.is_deep, "is_done": is_done}
    connection.sendall(json.dumps(found).encode() + b"\n")


def main() -> None:
    listener = socket.socket(fileno=LISTENER)
    threads = [threading.Thread(target=serve, args=(listener,)) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
