"""The one module that starts programs: no shell, a time limit, and the end of the whole process group with it.

A program dies with the process that started it (PR_SET_PDEATHSIG, set by util-linux' setpriv between fork and exec,
so that no Python runs there), except one that is started to outlive it, by `spawn_detached`.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.registry import JobError

DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
MAX_OUTPUT = 4 * 2**20
MAX_LINE = 64 * 2**10
CHUNK = 64 * 2**10
# All that a program is given of our environment, which holds the database's and the signing key's secrets.
INHERITED = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"} | {
    name for word in ("http_proxy", "https_proxy", "no_proxy") for name in (word, word.upper())
}
_groups: set[int] = set()


class ProcessError(JobError):
    """A program could not be started or did not end in time."""


@dataclass(frozen=True)
class Finished:
    """How a program ended: `code` as the shell counts it (minus the signal's number), and what it printed."""

    code: int
    output: str


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    on_line: Callable[[str], None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Finished:
    """Run a program to its end, standard output and error together, without standard input.

    `timeout`: seconds. `env`: on top of a few harmless variables of ours. `on_line`: is given each line as it comes;
    without it the output is returned, up to 4 MiB. `check`: called ten times a second; what it raises ends the program.
    Whatever the program leaves running in its group is killed. Raises `ProcessError`.
    """
    name = Path(argv[0]).name
    lines = Lines(on_line)
    limit = time.monotonic() + timeout
    with contextlib.closing(lines), _started(argv, environment(env), cwd) as (popen, pidfd):
        assert popen.stdout
        os.set_blocking(popen.stdout.fileno(), False)
        while not _pump(popen.stdout.fileno(), pidfd, lines):
            check()
            if time.monotonic() > limit:
                raise ProcessError(f"{name} did not finish within {timeout:.0f} seconds and was stopped. Try again.")
    return Finished(popen.returncode, "\n".join(lines.kept))


def spawn_detached(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    pass_fds: Sequence[int] = (),
) -> None:
    """Start a program that outlives this process: in a session of its own and nobody's child.

    `output`: file its standard output and error are appended to, else nowhere. `pass_fds`: descriptors it keeps, such
    as a pipe on which it says that it is ready. Raises `ProcessError` when it cannot be started.
    """
    _require(argv[0], environment(env))
    with open(output or os.devnull, "ab") as sink:
        done = subprocess.run(
            ["setsid", "--fork", *argv],
            env=environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            pass_fds=pass_fds,
            timeout=10,
        )
    if done.returncode:
        raise ProcessError(f"{Path(argv[0]).name} could not be started.")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program is given: the harmless part of our environment, and `extra`."""
    return {name: value for name, value in os.environ.items() if name in INHERITED} | dict(extra or {})


def kill_all() -> None:
    """SIGKILL to every group that `run` has going in this process, before it ends itself."""
    for group in list(_groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _require(program: str | os.PathLike[str], env: Mapping[str, str]) -> None:
    if not shutil.which(program, path=env.get("PATH")):
        raise ProcessError(f"The program {Path(program).name} is not on this machine. Ask an admin to install it.")


@contextlib.contextmanager
def _started(
    argv: Sequence[str | os.PathLike[str]], env: dict[str, str], cwd: str | os.PathLike[str] | None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The running program and a descriptor that is readable once it has ended; on leaving its group is gone."""
    _require(argv[0], env)
    popen = subprocess.Popen(
        [*DIE_WITH_PARENT, *argv],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _groups.add(popen.pid)
    pidfd = os.pidfd_open(popen.pid)
    try:
        yield popen, pidfd
    finally:
        _end_group(popen, pidfd)


def _end_group(popen: subprocess.Popen[bytes], pidfd: int) -> None:
    """Only then is the leader waited for: until it is, its group's number cannot become somebody else's."""
    try:
        if not _readable(0, pidfd):
            os.killpg(popen.pid, signal.SIGTERM)
            _readable(GRACE, pidfd)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()
        _groups.discard(popen.pid)
        os.close(pidfd)
        if popen.stdout:
            popen.stdout.close()


def _pump(stdout: int, pidfd: int, lines: "Lines") -> bool:
    """Read what comes within 0.1 s; whether the program has ended and all it wrote is read."""
    ready = _readable(0.1, pidfd) if lines.ended else _readable(0.1, pidfd, stdout)
    if stdout in ready:
        lines.feed(os.read(stdout, CHUNK))
    return ready == {pidfd}


def _readable(seconds: float, *descriptors: int) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _event in poll.poll(seconds * 1000)}


class Lines:
    """Cuts what a program writes into lines (at `MAX_LINE` bytes if need be), and passes them on or keeps them."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.kept: list[str] = []
        self.ended = False
        self._emit = on_line or self._keep
        self._room = MAX_OUTPUT
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        self.ended = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._emit(line.decode(errors="replace"))
        if len(self._rest) > MAX_LINE:
            self.close()

    def close(self) -> None:
        """Pass on a last line that has no newline."""
        if self._rest:
            self._emit(self._rest.decode(errors="replace"))
            self._rest = b""

    def _keep(self, line: str) -> None:
        self._room -= len(line) + 1
        if self._room >= 0:
            self.kept.append(line)
