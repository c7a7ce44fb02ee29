"""One run of the game: started in a process group of its own, signalled as a group, and reaped to its last process."""

import contextlib
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from . import namespace
from .identity import machine_pid

REAP_SECONDS = 10


class Game:
    """A started game. `output`: a non-blocking descriptor of its stdout and stderr. `status`: once it ended, how."""

    def __init__(self, order: dict[str, Any], tree: str) -> None:
        """Fork and execute; raises `OSError` as the child met it (folder or program missing, not executable…)."""
        self.status: int | None = None
        self.output, output = os.pipe()
        failure, report = os.pipe()
        keeper = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            _become(order, tree, output, report, keeper)
        os.close(output)
        os.close(report)
        with os.fdopen(failure, "rb") as file:
            code, _, what = file.read().decode().partition(" ")
        if code:
            os.close(self.output)
            os.waitpid(self.pid, 0)
            raise OSError(int(code), os.strerror(int(code)), what)
        os.set_blocking(self.output, False)
        pidfd = os.pidfd_open(self.pid)
        self.machine_pid = machine_pid(pidfd)
        os.close(pidfd)
        self.started = time.monotonic()

    def signal(self, number: int) -> None:
        """To the game and what it started, as far as that stayed in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def reap(self) -> bool:
        """Collect ended processes, also those the game left behind; whether any is left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.pid:
                    self.status = os.waitstatus_to_exitcode(status)
        return False

    def kill_all(self) -> None:
        """SIGKILL to every process below the keeper, and wait until none is left."""
        limit = time.monotonic() + REAP_SECONDS
        while self.reap() and time.monotonic() < limit:
            if os.getpid() == 1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(-1, signal.SIGKILL)
            else:  # orphans come to the keeper, being their subreaper
                for pid in _children():
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.002)

    def read(self) -> bytes:
        """Some of what it wrote, b"" when there is nothing by now; closes `output` at its end."""
        try:
            piece = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return b""
        if not piece:
            os.close(self.output)
            self.output = -1
        return piece


def _children() -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b") ")[2].split()
                if int(fields[1]) == os.getpid():
                    found.append(int(entry))
    return found


def _limit(order: dict[str, Any]) -> None:
    """Memory and CPU take a cgroup, which nobody gives us here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limits = {resource.RLIMIT_NOFILE: order["limits"]["open_files"]}
    if order["mode"] == "overlay":  # elsewhere the kernel would count all that this user runs on the machine
        limits[resource.RLIMIT_NPROC] = order["limits"]["tasks_max"]
    for what, wanted in limits.items():
        most = resource.getrlimit(what)[1]
        number = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        resource.setrlimit(what, (number, number))


def _become(order: dict[str, Any], tree: str, output: int, report: int, keeper: int) -> None:
    """In the child: turn into the game, or report the error number and the path it is about, and end."""
    what = order["argv"][0]
    try:
        os.setsid()
        namespace.prctl(namespace.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)  # an ignored signal would stay so
        _limit(order)
        os.umask(0o022)
        os.dup2(output, 1)
        os.dup2(output, 2)
        what = order["workdir"]
        os.chdir(os.path.join(tree, what))
        what = order["argv"][0]
        os.execvpe(what, order["argv"], order["environment"])  # noqa: S606
    except OSError as error:
        os.write(report, f"{error.errno} {what}".encode())
    finally:
        os._exit(127)
