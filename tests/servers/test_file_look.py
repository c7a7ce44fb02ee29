"""A look at hostile files: names, links, sizes and depths that a game may leave; what is told and what kept back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.run import Run
from servers.models import FileChange, Server
from servers.provenance import looking
from servers.provenance.below import Source
from servers.provenance.looking import Findings, look
from servers.runtime.beneath import open_beneath

K = FileChange.Kind


class Place:
    """`upper` over `layer`; `look` gives what is found, by path in `changes`."""

    def __init__(self, root: Path, server: Server) -> None:
        self.upper, self.layer, self.server = root / "upper", root / "layer", server
        for folder in (self.upper, self.layer):
            folder.mkdir()
        self.changes: dict[str, FileChange] = {}

    def write(self, path: str, new: str | bytes, old: str | bytes | None = None) -> None:
        for top, content in ((self.upper, new), (self.layer, old)):
            if content is not None:
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_bytes(content.encode() if isinstance(content, str) else content)

    def look(self) -> Findings:
        found = look(Run(0), self.server, self.upper, [Source("Layer", self.layer)])
        FileChange.objects.bulk_create(found.changes)  # the database takes it all
        self.changes = {change.path: change for change in found.changes}
        return found


@pytest.fixture
def place(tmp_path: Path, server: Server) -> Place:
    return Place(tmp_path, server)


def test_links_are_told_and_never_followed(place: Place, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    place.write("a.cfg", "x", "old")
    place.write("below", "x")
    (place.upper / "a.cfg").unlink()
    (place.upper / "a.cfg").symlink_to(tmp_path / "secret")
    (place.upper / "out").symlink_to(tmp_path)
    (place.layer / "below").symlink_to(tmp_path / "secret")
    (place.layer / "inside").symlink_to(tmp_path)
    place.write("inside/secret", "x")
    os.mkfifo(place.upper / "pipe")
    place.look()
    assert {path: (change.kind, change.remark, change.diff) for path, change in place.changes.items()} == {
        "a.cfg": (K.CHANGED, "It is a link.", ""),
        "below": (K.CHANGED, "It is a link.", ""),
        "out": (K.ADDED, "It is a link.", ""),
        "inside/secret": (K.ADDED, "", ""),
        "pipe": (K.ADDED, "It is no plain file.", ""),
    }


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"bell\x07", "\u202ecod.exe".encode()])
def test_a_name_that_cannot_be_shown_is_counted(place: Place, name: bytes) -> None:
    (place.upper / os.fsdecode(name)).write_text("x")
    place.write("plain", "x")
    assert place.look().remark == "1 have names that cannot be shown."
    assert list(place.changes) == ["plain"]


def test_what_is_long_binary_or_too_different_has_a_reason_instead_of_a_diff(place: Place) -> None:
    place.write("long", "x" * (300 << 10), "y")
    place.write("binary", b"a\0b", b"c")
    place.write("different", "\n".join(str(n) for n in range(9000)), "a\nb")
    place.write("big", "\n".join(f"{n} {'x' * 500}" for n in range(400)), "old")
    place.write("latin", b"caf\xe9\x1b[31m red", b"old")
    place.write("end", "same\n", "same")
    place.look()
    told = {path: change.remark for path, change in place.changes.items()}
    assert told == {
        "long": "It is too long to be compared line by line.",
        "binary": "It is not a text.",
        "different": "The lines differ too much to be shown.",
        "big": "",
        "latin": "",
        "end": "Only secrets or line ends differ.",
    }
    assert len(place.changes["big"].diff.encode()) <= (64 << 10) + 100
    assert place.changes["big"].diff.endswith("… the rest is left out.")
    assert place.changes["latin"].diff == "@@ -1,1 +1,1 @@\n-old\n+caf\ufffd red"


def test_secrets_and_passwords_are_kept_back(place: Place) -> None:
    place.server.secrets = {"rcon": "generated"}
    place.server.game = "openarena"
    place.server.settings = {"password": "swordfish"}
    place.server.started_with = {"password": "herring"}
    place.write("server.cfg", "set a generated\nset b swordfish\n", "set b herring\n")
    place.look()
    assert place.changes["server.cfg"].diff == "@@ -1,1 +1,2 @@\n+set a •••\n set b •••"


def test_a_look_is_bounded_and_says_what_it_left_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_LISTED", 10)
    for number in range(25):
        place.write(f"logs/{number:02}", "x")
        place.write(f"cfg/{number:02}", "new", "old")
    assert place.look().remark == "30 more are not listed."
    assert len(place.changes) == 20
    monkeypatch.setattr(looking, "SECONDS", -1)
    FileChange.objects.all().delete()
    assert place.look().remark == "There is too much to look at, so the rest was left out."


def test_a_folder_without_end_is_read_in_part(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "MOST_SEEN", 10)
    for number in range(30):
        place.write(f"{number}", "x")
    assert place.look().is_cut
    assert len(place.changes) == 11


@pytest.mark.parametrize("seconds", [-(2**40), 2**33, 2**34 - 1])
def test_a_time_that_no_calendar_has_is_none(place: Place, seconds: int) -> None:
    place.write("a", "x")
    os.utime(place.upper / "a", (0, seconds))
    place.look()
    assert list(place.changes) == ["a"]


def test_a_depth_without_end_is_cut(place: Place) -> None:
    place.write("/".join(["d"] * 80) + "/file", "x")
    place.write("a/file", "x")
    assert place.look().is_cut
    assert list(place.changes) == ["a/file"]


def test_a_mark_beside_what_it_marks_is_no_second_change(place: Place) -> None:
    """A game may leave any of these in its `upper` itself."""
    place.write("server.cfg", "new", "old")
    place.write("cfg/own", "x")
    place.write("cfg/.wh..wh..opq", "")
    place.write("gone", "x", "old")
    (place.upper / "gone").unlink()
    (place.layer / "cfg").mkdir()
    (place.layer / "cfg/old").write_text("old")
    for mark in (".wh.server.cfg", ".wh.cfg", ".wh.gone", ".wh.", ".wh..", ".wh..."):
        place.write(mark, "")
    assert not place.look().remark
    kinds = {path: change.kind for path, change in place.changes.items()}
    assert kinds == {"server.cfg": K.CHANGED, "cfg": K.RENEWED, "cfg/own": K.ADDED, "gone": K.DELETED}


class Watched(Run):
    """Notes the most that was opened between two checks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(0)
        self.opened = self.most = self.checks = 0
        monkeypatch.setattr(looking, "open_beneath", self._open)

    def _open(self, root: int, path: str, flags: int) -> int:
        self.opened += 1
        self.most = max(self.most, self.opened)
        return open_beneath(root, path, flags)

    def check(self) -> None:
        self.opened = 0
        self.checks += 1
        super().check()


def _folders(place: Place) -> None:
    for number in range(30):
        (place.upper / f"{number}").mkdir()


def _deletions(place: Place) -> None:
    for number in range(30):
        place.write(f".wh.{number}", "")


def _hidden(place: Place) -> None:
    place.write(".wh.hidden", "")
    for number in range(30):
        (place.layer / f"hidden/{number}").mkdir(parents=True)


def _large(place: Place) -> None:
    place.write("large", b"x" * (30 << 20), b"x" * (30 << 20))


@pytest.mark.parametrize("left", [_folders, _deletions, _hidden, _large])
def test_whatever_a_game_leaves_the_look_asks_often_whether_to_stop(
    place: Place, monkeypatch: pytest.MonkeyPatch, left: Callable[[Place], None]
) -> None:
    left(place)
    run = Watched(monkeypatch)
    layers = [Source(f"Layer {number}", place.layer) for number in range(10)]
    look(run, place.server, place.upper, layers)
    assert run.checks >= 30
    assert run.most <= 30  # a few for each layer
