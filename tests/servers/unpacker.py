"""`python -m tests.servers.unpacker FOLDER`: the worker's program, for one archive after another in the same process.

In: a line of JSON, `[filename, bytes]`, then so many bytes. Out: a line of JSON, as `Unpacked`.
"""

import contextlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from servers.layers import unpack

LONGEST = 60  # seconds until no answer means that it hangs


@dataclass(frozen=True)
class Unpacked:
    """`left`: sizes by path, None what is no ordinary file or folder; `beside`: what is in the folder around."""

    code: int
    said: str
    left: dict[str, int | None]
    beside: list[str]
    processor: float  # seconds
    descriptors: int
    memory: int  # bytes


class Unpacker:
    """The process. Dies with a parser that does, which is an error of the test."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-m", "tests.servers.unpacker", str(folder)]
        self._process = subprocess.Popen(
            argv, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def __enter__(self) -> "Unpacker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def unpack(self, name: str, data: bytes) -> Unpacked:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([name, len(data)]).encode() + b"\n" + data)
        assert select.select([self._process.stdout], [], [], LONGEST)[0], "it hangs"
        answer = self._process.stdout.readline()
        assert answer, f"it died with {self._process.wait()}"
        return Unpacked(**json.loads(answer))


def one(folder: Path, name: str, data: bytes) -> Unpacked:
    packed, into = folder / "packed", folder / "into"
    packed.write_bytes(data)
    into.mkdir()
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = unpack.main(packed, name, str(into))
    took = time.process_time() - began
    files = [path for path in into.rglob("*") if path.is_symlink() or not path.is_dir()]
    left = {str(path.relative_to(into)): size(path) for path in files}
    beside = sorted(os.listdir(folder))
    shutil.rmtree(into)
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Unpacked(code, said.getvalue().strip(), left, beside, took, len(os.listdir("/proc/self/fd")), memory)


def size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None


if __name__ == "__main__":
    while line := sys.stdin.buffer.readline():
        filename, length = json.loads(line)
        result = one(Path(sys.argv[1]), filename, sys.stdin.buffer.read(length))
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
        sys.stdout.flush()
