"""A server's own files as overlayfs keeps them: read as either driver marks them, undone in no other place."""

import os
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from servers.runtime.base import EVERYTHING, Undo
from servers.runtime.deleting import delete_tree
from servers.runtime.measuring import UNDONE
from servers.runtime.upper import read_folder, undo


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    """Below the server's folder, beside something that is none of its files."""
    (tmp_path / "evil").write_text("x")
    (tmp_path / "upper" / "maps").mkdir(parents=True)
    return tmp_path / "upper"


def undone(upper: Path, path: str, *, whole: bool = True) -> str:
    return undo(upper.parent, [Undo(path, whole)])[path]


def look(upper: Path, path: str = "."):
    root = os.open(upper, os.O_RDONLY)
    try:
        return read_folder(root, path, 100)
    finally:
        os.close(root)


@pytest.mark.parametrize("path", ["../evil", "link/evil", "/evil", "maps/../../evil", "..", "", "maps/..", "link/../a"])
def test_nothing_outside_is_undone(upper: Path, path: str) -> None:
    (upper / "link").symlink_to(upper.parent)
    assert "is not a path inside" in undone(upper, path)
    assert (upper.parent / "evil").exists()
    assert (upper / "maps").is_dir()


def test_a_link_itself_goes_and_not_what_it_leads_to(upper: Path) -> None:
    (upper / "link").symlink_to(upper.parent / "evil")
    assert undone(upper, "link") == ""
    assert (upper.parent / "evil").exists()
    assert not (upper / "link").is_symlink()


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_gone_already_is_undone(upper: Path, times: int) -> None:
    for _ in range(times):
        assert undone(upper, "maps/a") == undone(upper, "no/such/folder") == ""
    assert undo(upper.parent / "no-server", [Undo("a")]) == {"a": ""}


def test_marks_of_both_drivers_are_read_and_undone(upper: Path) -> None:
    os.mknod(upper / "kernel", stat.S_IFCHR)
    (upper / ".wh.fuse").touch()
    (upper / ".wh.file").write_text("a file that a game calls so")
    for name, attribute in (("a", "user.overlay.opaque"), ("b", "user.fuseoverlayfs.opaque")):
        (upper / name / "in").mkdir(parents=True)
        os.setxattr(upper / name, attribute, b"y")
    (upper / "c").mkdir()
    (upper / "c" / ".wh..wh..opq").touch()
    os.mknod(upper / "c" / ".wh..opq", stat.S_IFCHR)
    top = look(upper)
    assert sorted(top.deleted) == ["fuse", "kernel"]
    assert list(top.files) == [".wh.file"]
    assert [look(upper, name).opaque for name in ("a", "b", "c", "maps")] == [True, True, True, False]
    for name in ("kernel", "fuse"):
        assert undone(upper, name) == ""
    for name in ("a", "b", "c"):
        assert undone(upper, name, whole=False) == ""
    assert not look(upper).deleted
    assert [look(upper, name).opaque for name in ("a", "b", "c")] == [False, False, False]
    assert (upper / "a" / "in").is_dir()
    assert not list((upper / "c").iterdir())


def test_a_folder_goes_with_all_in_it_whatever_its_modes(upper: Path) -> None:
    (upper / "deep" / "er").mkdir(parents=True)
    (upper / "deep" / "er" / "file").touch()
    (upper / "deep" / "er").chmod(0o500)
    assert undone(upper, "deep") == ""
    delete_tree(upper.parent / UNDONE)
    assert {path.name for path in upper.parent.iterdir()} == {"evil", "upper"}
    assert {path.name for path in upper.iterdir()} == {"maps"}


def test_everything_goes_in_one_step_whatever_it_is_called_and_however_much(upper: Path, monkeypatch) -> None:
    for name in (".wh.a", "\udcff", "a\nb", "x" * 255):
        (upper / name).touch()
    for number in range(500):
        (upper / "maps" / str(number)).touch()
    upper.chmod(0)  # a game may close its own top folder
    inode, moved = upper.stat().st_ino, Mock(wraps=os.rename)
    monkeypatch.setattr(os, "rename", moved)
    for _ in range(2):
        assert undone(upper, EVERYTHING) == ""
        assert [path.stat().st_ino for path in (upper.parent / UNDONE).iterdir()] == [inode]
    assert moved.call_count <= 2
    monkeypatch.undo()
    delete_tree(upper.parent / UNDONE)
    assert {path.name for path in upper.parent.iterdir()} == {"evil"}
