"""Runs the demonstration's processes under one foreground command: prefixed output, restarts, a clean end."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

COLOURS = {"web": 36, "worker": 35, "agent": 33, "demo": 32}
RESTART_DELAYS = (1, 2, 5, 10)  # seconds; the last repeats
STOP_SECONDS = 25


terminal_gone = threading.Event()


def say(who: str, text: str) -> None:
    """Print one line under the name of the process it came from; never fails.

    Written at once and without Python's buffer, since threads and a signal's handler call this too.
    """
    if sys.stdout is None:
        return
    tag = f"{who:>6} │"
    if sys.stdout.isatty():
        tag = f"\033[{COLOURS.get(who, 37)}m{tag}\033[0m"
    try:
        os.write(1, f"{tag} {text}\n".encode(sys.stdout.encoding, "replace"))
    except OSError as error:
        if error.errno in (errno.EIO, errno.EPIPE):
            _lose_terminal()


def _lose_terminal() -> None:
    """From now on nothing that is written fails: stopping in order has to go on without anybody to tell."""
    terminal_gone.set()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if os.path.sameopenfile(1, 2):
        os.dup2(nowhere, 2)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _is_hung_up() -> bool:
    """Whether nobody is at the other end of our output. The kernel tells only the leader of the terminal's session,
    which may be make, and a demo that runs well prints nothing by which it would find out."""
    poll = select.poll()
    poll.register(1, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


class Watched:
    """A process that is started again after it ended by itself; the delay grows while it keeps ending early."""

    process: subprocess.Popen[bytes]

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.started = time.monotonic()
        self.restart_at = 0.0

    def start(self) -> None:
        """Set `process`. Where that cannot be had, `process` stays the ended one, which counts as one more failure."""
        raise NotImplementedError

    def watch(self) -> None:
        """Start it again once it is due."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        if not self.restart_at:
            self.failures = 1 if now - self.started > 60 else self.failures + 1
            delay = RESTART_DELAYS[min(self.failures, len(RESTART_DELAYS)) - 1]
            self.restart_at = now + delay
            say("demo", f"{self.name} ended with status {self.process.returncode}; starting it again in {delay} s")
        elif now >= self.restart_at:
            self.restart_at = 0.0
            self.started = now
            self.start()


class Child(Watched):
    """One of our own commands, its output under its name."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str]) -> None:
        super().__init__(name)
        self.argv = argv
        self.environment = environment
        self.start()

    def start(self) -> None:
        # A session of its own, so that Ctrl-C in the terminal reaches only this command, which then ends all in order.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *self.argv],  # it ends with us, however we end
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        threading.Thread(target=self._relay, args=[self.process], daemon=True).start()

    def _relay(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        for line in process.stdout:
            say(self.name, line.decode(errors="replace").rstrip())

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to its whole group after `STOP_SECONDS`."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Supervisor:
    """Children by name, ended in the reverse order of their start."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.watched: list[Watched] = []  # the children, and what somebody else ends
        self.stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # so nohup(1) means
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        if self.stopping.is_set():
            say("demo", "still stopping; a moment")
        self.stopping.set()

    def told_to_stop(self) -> bool:
        """By a signal, or because the terminal has gone."""
        if _is_hung_up():
            _lose_terminal()
        if terminal_gone.is_set():
            self.stopping.set()
        return self.stopping.is_set()

    def start(self, name: str, *argv: str, **environment: str) -> None:
        """Run `manage.py ARGV` as a child called `name`."""
        child = Child(name, [sys.executable, "-u", "manage.py", *argv], environment)
        self.children.append(child)
        self.watched.append(child)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> bool:
        """Watch the children until `ready` is true; False after `seconds` or when told to stop."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not self.stopping.wait(0.1):
            self._watch()
            if ready():
                return True
        return False

    def run(self) -> None:
        """Watch the children until told to stop, or until nobody can be told anything any more."""
        while not self.stopping.wait(0.5):
            self._watch()

    def _watch(self) -> None:
        if self.told_to_stop():
            return
        for process in self.watched:
            process.watch()

    def stop(self) -> None:
        """End every child; returns when none is left."""
        self.stopping.set()
        for child in reversed(self.children):
            say("demo", f"stopping {child.name}")
            child.stop()
