"""The helpers of a load test: a client process, a writer, somebody who opens pages, and what a process uses."""

import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from tests.stack import BASE

WRITERS, GROUP = 4, 10
ENVIRONMENT = {
    "LEFT4ME_METRICS_TOKEN": "tests",
    "LEFT4ME_SOCKETS_PER_USER": "100000",
    "LEFT4ME_SOCKETS_PER_ADDRESS": "100000",
}


class Process:
    """A helper process that takes JSON orders and answers each."""

    def __init__(self, module: str, **given: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(given)],
            cwd=BASE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def start(self, do: str, **given: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self.process.stdin.flush()

    def has_answered(self, seconds: float) -> bool:
        """Whether the answer is there, after waiting so long at most."""
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, do: str, **given: Any) -> Any:
        self.start(do, **given)
        return self.answer()


def write(
    streams: list[int], *, seconds: float = math.inf, until: threading.Event | None = None, batches: float, lines: int
) -> float:
    """Append `lines` a batch to every stream, `batches` a second, evenly spread, for `seconds` or `until` it is set.

    Returns the share of them that got written.

    Every line begins with the time it was appended at. Many streams are written by a few threads, each some streams a
    transaction, since PostgreSQL puts the commits that notify one after another, each with its flush to disk.
    """
    hands, until = min(WRITERS, len(streams)), until or threading.Event()
    with ThreadPoolExecutor(hands) as pool:
        shares = [pool.submit(_write, streams[hand::hands], seconds, until, batches, lines) for hand in range(hands)]
        return min(share.result() for share in shares)


def _write(streams: list[int], seconds: float, until: threading.Event, batches: float, lines: int) -> float:
    from django.db import connection, transaction

    from jobs.streams import append

    groups = [streams[start : start + GROUP] for start in range(0, len(streams), GROUP)]
    period = 1 / batches / len(groups)
    began, number = time.monotonic(), 0
    while time.monotonic() < began + seconds and not until.is_set():
        time.sleep(max(0, began + number * period - time.monotonic()))
        text = f"{time.monotonic_ns()} Player {number % 24} picked up a first aid kit near the safe room"
        with transaction.atomic():
            for stream in groups[number % len(groups)]:
                append(stream, [text] * lines)
        number += 1
    connection.close()
    return min(1, number * period / (time.monotonic() - began))


class Pages(threading.Thread):
    """Asks for a page again and again, as a member's browser would, and notes how long it took."""

    def __init__(self, port: int, path: str, session: str) -> None:
        super().__init__(daemon=True)
        self.connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self.path, self.headers = path, {"Cookie": f"sessionid={session}", "Host": "localhost"}
        self.milliseconds: list[float] = []
        self.failed = 0
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            began = time.monotonic()
            self.connection.request("GET", self.path, headers=self.headers)
            answer = self.connection.getresponse()
            answer.read()
            self.failed += answer.status != 200
            self.milliseconds.append((time.monotonic() - began) * 1000)

    def stop(self) -> list[float]:
        self.ended.set()
        self.join()
        return self.milliseconds


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
