"""What a machine that runs games must offer: job kinds and the agent call it, `local` and `systemd` implement it.

Everything is synchronous and safe to call from several processes; the truth lies on the machine (state files or
units), never in the object. A *name* is a server's name, which the database keeps to one pattern.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from jobs.registry import JobError
from servers.limits import Limits
from servers.runtime.measuring import UNDONE, Measure, own_folders
from servers.runtime.wakes import Wakes

# The values of `servers.models.Server.Unit`.
Unit = Literal["stopped", "starting", "running", "restarting", "stopping", "crashed"]
# A game that ends within this many seconds of its first start has failed to start: `start` says so and it is not
# started again.
SETTLE_SECONDS = 1.0


class RuntimeFailure(JobError):
    """The machine could not do it. Being a `JobError`, it fails a job with its sentence as it is."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """After a crash: wait `backoff[n]` seconds before the n-th restart (its last value from then on); more than
    `limit` restarts within `window` seconds leave the server crashed."""

    backoff: tuple[float, ...] = (1, 2, 4, 8, 16)
    limit: int = 5
    window: float = 600


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """All that is needed to run one server, made anew for every start.

    `layers`: absolute folders, lowest first: the installation, then the stack's. Above them come `files` (generated
    config: path relative to the top of the tree → content) and then the server's own files, which alone are written.
    The game sees the tree at `Runtime.tree(name)`. `workdir`: relative to it. `argv[0]`: found in PATH when it has no
    slash, else absolute or relative to `workdir`. `environment`: all there is besides PATH, HOME, LANG and TERM, which
    the runtime sets unless they are given here.
    Stopping: `stop_signal`; SIGTERM after `stop_after` seconds; SIGKILL another `kill_after` seconds later.
    The systemd runtime enforces all of `limits`, and `ports`, which it alone may bind; the local one what setrlimit(2)
    can: open files and, in a user namespace, tasks.
    """

    name: str
    layers: tuple[Path, ...]
    argv: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "."
    stop_signal: signal.Signals = signal.SIGINT
    stop_after: float = 10
    kill_after: float = 5
    restart: Restart = Restart()
    limits: Limits = field(default_factory=Limits)
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """What the machine knows of a server at this moment.

    `detail`: why it is in that state, in a sentence, where there is something to say. `since`: when it entered it.
    `pid`: the game's process number on this machine while it runs. `exit_code` or `exit_signal`: how it last ended.
    `restarts`: after crashes, since the last start.
    """

    unit: Unit
    detail: str = ""
    since: datetime | None = None
    pid: int | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    restarts: int = 0


EVERYTHING = "."  # the path of a server's tree itself


@dataclass(frozen=True)
class Undo:
    """`path`, below the top of a server's tree, is to be as the layers have it. `whole`: what the server made a folder
    of goes with all in it; otherwise only what that folder hides comes back. `EVERYTHING` is always whole."""

    path: str
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a server uses: processor seconds since it was started, and bytes of memory at this moment."""

    cpu_seconds: float
    memory: int


class Runtime(ABC):
    """One machine's way of running games; `servers.runtime.get_runtime()` gives the configured one."""

    @abstractmethod
    def tree(self, name: str) -> Path:
        """Where the game sees its merged layers; for argv and settings that need an absolute path."""

    @abstractmethod
    def prepare(self, spec: ServerSpec) -> None:
        """Make the server's folders and write its config afresh, without starting it.

        `start` does this itself. Does nothing to a server that runs: its lower folders are mounted. Raises
        `RuntimeFailure` (a path that leaves the tree, no room on the disk).
        """

    @abstractmethod
    def start(self, spec: ServerSpec) -> None:
        """Start the server; returns when the game has run for `SETTLE_SECONDS`. Does nothing when it runs already.

        `states` says *running* as soon as the program was executed, well before this returns. Raises `RuntimeFailure`
        (binary missing, mount refused, ended at once); nothing runs or is mounted then. The game's lines are no part of
        it: not everybody who sees a job may read the console.
        """

    @abstractmethod
    def stop(self, name: str, *, timeout: float | None = None) -> None:
        """Stop the server as its spec says; returns when none of its processes and mounts are left.

        After `timeout` seconds (default: the spec's delays and a margin) everything is killed. Also ends a pending
        restart and clears *crashed*. Does nothing when nothing runs. Raises `RuntimeFailure` if something survives.
        """

    @abstractmethod
    def states(self, names: Iterable[str]) -> dict[str, UnitState]:
        """The state of each of `names`, *stopped* for those never started. Cheap: meant to be polled."""

    def usage(self, names: Iterable[str]) -> dict[str, Usage]:
        """What each of `names` uses, without those of which nothing is known. Cheap enough for once a minute."""
        return {}

    def follow(self, on_change: Callable[[], None]) -> None:  # noqa: B027 (nothing to tell is a fair answer)
        """Call `on_change`, from any thread, when some server's state may have changed; polling stays needed."""

    def wakes(self) -> Wakes:
        """What to wait with for new lines and states: one for each agent, which closes it."""
        return Wakes()

    @abstractmethod
    def read_console(self, name: str, cursor: str, limit: int = 1000) -> tuple[list[str], str]:
        """The next whole lines of the game's output, at most `limit`, and the cursor to go on from.

        The cursor is opaque; "" is the beginning. Saved in the transaction that stores the lines, it gives each line
        exactly once. Lines the runtime itself adds begin with "[left4me] "; output that was dropped before it was read
        is told as one such line. Lines are hostile text and not yet cleaned. One `stat` when there is nothing new.
        """

    def upper(self, name: str) -> Path:
        """Where what the server itself writes is kept, in overlayfs' own terms (`servers.runtime.upper`)."""
        return self.tree(name).parent / "upper"

    def undone(self, name: str) -> Path:
        """Where `undo` moves folders: whatever is there is to be deleted."""
        return self.upper(name).with_name(UNDONE)

    def measure(self, name: str, *, enough: int | None = None) -> Measure:
        """Begin to count what its own files take."""
        return Measure(own_folders(self.tree(name).parent), enough=enough)

    def writes_elsewhere(self, name: str) -> bool:
        """Whether what the game writes gets to `upper` only when it ends."""
        return False

    @abstractmethod
    def undo(self, name: str, wanted: Sequence[Undo]) -> dict[str, str] | None:
        """Have the layers below show again in these places of a stopped server's files; by path, why it was not
        possible, "" where it was. Folders are moved to `undone`, whose deletion may take long and is the caller's.
        `None`, and nothing done, while its tree is mounted.
        """

    @abstractmethod
    def remove(self, name: str, token: str) -> None:
        """Put a stopped server's files aside under `token`: letters, digits and hyphens, the server's alone.

        Does nothing when there are none. Raises `RuntimeFailure` when it still runs.
        """

    @abstractmethod
    def discard(self, name: str) -> None:
        """Delete a stopped server's files for good, at once. Raises `RuntimeFailure` when it still runs."""

    @abstractmethod
    def restore(self, name: str, token: str) -> None:
        """Bring back what `remove` put aside. Raises `RuntimeFailure` when the name has files of another server."""

    @abstractmethod
    def forget(self, name: str, token: str) -> None:
        """Delete for good what `remove` put aside, if it is there."""

    @abstractmethod
    def purge(self, older_than: timedelta) -> int:
        """Delete for good what was put aside longer ago than that; returns how many servers' files went."""
