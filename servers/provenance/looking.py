"""The look at a server's own files that a job takes: what is in `upper`, beside what the layers below have there."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from jobs import streams
from jobs.run import Run
from servers import games
from servers.models import FileChange, Server
from servers.provenance import comparing
from servers.provenance.below import Source
from servers.runtime import upper
from servers.runtime.beneath import NotBeneath, open_beneath
from servers.services.sending import hide_secrets
from servers.truth import HIDDEN

Kind = FileChange.Kind
MOST_SEEN = 100_000  # entries
MOST_LISTED = 5000  # rows of what was added, and again of all the rest
MOST_COMPARED = 1 << 30  # bytes, of all files together
MOST_DIFFS = 4 << 20  # characters, of all files together
SECONDS = 60
DEPTH, PATH_BYTES = 64, 1000


@dataclass
class Findings:
    """What a look found; the numbers say what was left out."""

    changes: list[FileChange] = field(default_factory=list)
    unlisted: int = 0
    unreadable: int = 0
    unnamed: int = 0
    is_cut: bool = False

    @property
    def remark(self) -> str:
        parts = {
            "There is too much to look at, so the rest was left out.": self.is_cut,
            f"{self.unlisted} more are not listed.": self.unlisted,
            f"{self.unreadable} folders could not be read.": self.unreadable,
            f"{self.unnamed} have names that cannot be shown.": self.unnamed,
        }
        return " ".join(sentence for sentence, holds in parts.items() if holds)


def look(run: Run, server: Server, own: Path, below: Sequence[Source], seconds: float | None = None) -> Findings:
    """Compare the folder `own` with what is below it. Nothing is followed out of either. Raises `OSError`."""
    findings = Findings()
    if not own.is_dir():
        return findings
    with ExitStack() as files:
        root = files.enter_context(_opened(own))
        here = [(source, files.enter_context(_opened(source.folder))) for source in below if source.folder.is_dir()]
        _Look(run, server, root, here, findings, seconds).walk()
    return findings


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


Below = list[tuple[Source, int]]


class _Look:
    """One walk. Of a folder's sources only those that have it as a folder too are asked about what is in it."""

    def __init__(
        self, run: Run, server: Server, root: int, below: Below, findings: Findings, seconds: float | None
    ) -> None:
        self._run, self._server, self._root, self._below, self._findings = run, server, root, below, findings
        self._limit = time.monotonic() + (SECONDS if seconds is None else seconds)
        self._seen = self._compared = self._diffed = 0
        self._paths: set[str] = set()
        self._passwords = _passwords(server)
        self._listed = {False: 0, True: 0}

    def walk(self) -> None:
        pending = [(".", self._below)]
        while not self._is_over() and pending:
            path, over = pending.pop()
            below = _with_folder(path, over)
            try:
                folder = upper.read_folder(self._root, path, MOST_SEEN + 1 - self._seen)
            except (OSError, NotBeneath):  # gone since, made a link, or not for us
                self._findings.unreadable += 1
                continue
            pending += self._folder(path, folder, below)

    def _is_over(self) -> bool:
        self._findings.is_cut |= self._seen > MOST_SEEN
        return self._is_late() or self._seen > MOST_SEEN

    def _is_late(self) -> bool:
        """Asked in each loop: layers and what is in them may be many."""
        self._run.check()
        is_late = time.monotonic() > self._limit
        self._findings.is_cut |= is_late
        return is_late

    def _folder(self, path: str, folder: upper.Folder, below: Below) -> list[tuple[str, Below]]:
        """List what is in it; returns the folders in it with what may be below them."""
        self._seen += len(folder.folders) + len(folder.files) + len(folder.deleted)
        prefix = "" if path == "." else f"{path}/"
        if folder.opaque and prefix:
            self._renewed(path, below)
            below = []
        for name in folder.deleted:
            if self._is_late():
                return []
            self._deleted(prefix + name, below)
        for name, facts in folder.files.items():
            if self._is_late():
                return []
            self._file(prefix + name, facts, below)
        if prefix.count("/") >= DEPTH or len(os.fsencode(prefix)) > PATH_BYTES:
            self._findings.is_cut |= bool(folder.folders)
            return []
        return [(prefix + name, below) for name in folder.folders]

    def _deleted(self, path: str, below: Below) -> None:
        if found := _uppermost(path, below):
            source, facts = found
            is_folder = stat.S_ISDIR(facts.st_mode)
            hides = self._count_files(path, below) if is_folder else 0
            size = None if is_folder else facts.st_size
            self._list(path, Kind.DELETED, below=source.name, below_bytes=size, hides=hides)

    def _renewed(self, path: str, below: Below) -> None:
        if found := _uppermost(path, below):
            source, facts = found
            size = None if stat.S_ISDIR(facts.st_mode) else facts.st_size
            hides = self._count_files(path, below) if size is None else 1
            if hides:
                self._list(path, Kind.RENEWED, below=source.name, below_bytes=size, hides=hides)

    def _count_files(self, path: str, below: Below) -> int:
        """Of a folder, in all layers together."""
        found: set[str] = set()
        for _, root in _with_folder(path, below):
            descriptor = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for folder, _, names, _ in os.fwalk(".", dir_fd=descriptor):
                    if self._is_late():
                        return len(found)
                    found |= {f"{folder}/{name}" for name in names}
            finally:
                os.close(descriptor)
        return len(found)

    def _file(self, path: str, facts: os.stat_result, below: Below) -> None:
        changed = _moment(facts.st_mtime)
        found = _uppermost(path, below)
        if found is None:
            self._list(path, Kind.ADDED, size_bytes=facts.st_size, changed_at=changed, remark=_shape(facts))
            return
        source, old = found
        values = {"below": source.name, "below_bytes": old.st_size, "size_bytes": facts.st_size, "changed_at": changed}
        if stat.S_ISDIR(old.st_mode):
            values |= {"below_bytes": None, "hides": self._count_files(path, below)}
            self._list(path, Kind.CHANGED, remark="It is in place of a folder.", **values)
        elif shape := _shape(facts) or _shape(old):
            self._list(path, Kind.CHANGED, remark=shape, **values)
        else:
            self._compare(path, dict(below)[source], facts, old, values)

    def _compare(
        self, path: str, lower: int, new: os.stat_result, old: os.stat_result, values: dict[str, object]
    ) -> None:
        same_size = new.st_size == old.st_size
        if same_size and new.st_mtime_ns == old.st_mtime_ns:  # copied up as it was
            self._list(path, Kind.SAME, **values)
            return
        self._compared += new.st_size if same_size else 0
        if self._compared > MOST_COMPARED or self._listed[False] >= MOST_LISTED:
            self._list(path, Kind.CHANGED, remark="There is too much to compare.", **values)
            return
        try:
            with _file(lower, path) as one, _file(self._root, path) as other:
                if same_size and comparing.are_same(one, other, is_over=self._is_late):
                    self._list(path, Kind.SAME, **values)
                elif not self._is_late():
                    diff, remark = self._diff(one, other)
                    self._list(path, Kind.CHANGED, diff=diff, remark=remark, **values)
        except (OSError, NotBeneath):
            self._list(path, Kind.CHANGED, remark="It could not be read.", **values)

    def _diff(self, one: int, other: int) -> tuple[str, str]:
        """The diff, or why there is none."""
        old, new = comparing.read_text(one), comparing.read_text(other)
        if old is None or new is None or self._diffed > MOST_DIFFS:
            return "", "It is too long to be compared line by line."
        if b"\0" in old or b"\0" in new:
            return "", "It is not a text."
        lines = comparing.differences(self._shown(old), self._shown(new))
        if lines is None:
            return "", "The lines differ too much to be shown."
        if not lines:
            return "", "Only secrets or line ends differ."
        diff = "\n".join(streams.clean("\n".join(lines)))
        self._diffed += len(diff)
        return _cut(diff), ""

    def _shown(self, text: bytes) -> str:
        shown = hide_secrets(self._server, text.decode(errors="replace"))
        for password in self._passwords:
            shown = shown.replace(password, HIDDEN)
        return shown

    def _list(self, path: str, kind: Kind, **values: object) -> None:
        if path in self._paths:  # a folder that changes while it is read may give a name twice
            return
        if not path.isprintable() or len(path.encode()) > PATH_BYTES:
            self._findings.unnamed += 1
            return
        self._paths.add(path)
        is_added = kind == Kind.ADDED
        self._listed[is_added] += 1
        if self._listed[is_added] > MOST_LISTED:
            self._findings.unlisted += 1
            return
        self._findings.changes.append(FileChange(server=self._server, path=path, kind=kind, **values))


def _passwords(server: Server) -> list[str]:
    """Those that members chose: the right to see files is not the right to see settings."""
    game = games.all_games().get(server.game)
    keys = [setting.key for setting in game.settings if setting.type == "password"] if game else []
    known = {str(values.get(key) or "") for key in keys for values in (server.chosen, server.started_with)}
    return sorted(known - {""}, key=len, reverse=True)


@contextmanager
def _file(root: int, path: str) -> Iterator[int]:
    descriptor = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotBeneath(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _facts(root: int, path: str) -> os.stat_result | None:
    try:
        descriptor = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    except (OSError, NotBeneath):
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _uppermost(path: str, below: Below) -> tuple[Source, os.stat_result] | None:
    return next(((source, facts) for source, root in below if (facts := _facts(root, path))), None)


def _with_folder(path: str, below: Below) -> Below:
    facts = [(source, root, _facts(root, path)) for source, root in below]
    return [(source, root) for source, root, found in facts if found and stat.S_ISDIR(found.st_mode)]


def _moment(seconds: float) -> datetime | None:
    """A game may set any time, also one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _shape(facts: os.stat_result) -> str:
    """What it is, where it is no plain file."""
    if stat.S_ISREG(facts.st_mode):
        return ""
    return "It is a link." if stat.S_ISLNK(facts.st_mode) else "It is no plain file."


def _cut(diff: str) -> str:
    encoded = diff.encode()
    if len(encoded) <= comparing.MOST_DIFF:
        return diff
    return encoded[: comparing.MOST_DIFF].decode(errors="ignore").rpartition("\n")[0] + "\n… the rest is left out."
