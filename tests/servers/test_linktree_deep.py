"""Trees deeper than a path may be long where nothing is mounted: linked, collected and shared like any others."""

import grp
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from servers.runtime import linktree, sharing, walking
from servers.runtime.deleting import delete_tree
from servers.runtime.upper import is_deletion

LEVELS = 2000
NAME = "d" * 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A server's."""
    for name in ("config", "upper", "merged"):
        (tmp_path / "server" / name).mkdir(parents=True)
    return tmp_path / "server"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """Has a file in the first of the nested folders."""
    (tmp_path / "layer" / NAME).mkdir(parents=True)
    (tmp_path / "layer" / NAME / "below").write_text("layer")
    return tmp_path / "layer"


def levels(top: Path) -> Iterator[int]:
    """A descriptor of each nested folder in turn."""
    place = os.open(top, os.O_RDONLY)
    try:
        while True:
            yield place
            inner = os.open(NAME, os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
    except FileNotFoundError:
        return
    finally:
        os.close(place)


def at_level(top: Path, wanted: int) -> Path:
    """A short path of that folder, which stays open."""
    for depth, place in enumerate(levels(top)):
        if depth == wanted:
            return Path(f"/proc/self/fd/{os.dup(place)}")
    raise AssertionError("It is not that deep.")


def test_what_a_game_left_deep_is_kept_and_linked_and_changed_again(
    folder: Path, layer: Path, make_deep: Callable[..., None]
) -> None:
    merged, upper = folder / "merged", folder / "upper"
    linktree.build(folder, [layer])
    make_deep(merged / NAME, LEVELS - 1, bottom=b"first")
    linktree.collect(folder)
    assert (at_level(upper, LEVELS) / "bottom").read_text() == "first"
    assert os.listdir(merged) == []

    linktree.build(folder, [layer])
    assert (folder / linktree.MANIFEST).stat().st_size < 100 * LEVELS, "no row has the whole path"
    deepest = at_level(merged, LEVELS)
    assert (deepest / "bottom").read_text() == "first"
    (deepest / "new").write_text("changed")
    (deepest / "new").rename(deepest / "bottom")
    linktree.collect(folder)
    assert (at_level(upper, LEVELS) / "bottom").read_text() == "changed"
    assert os.listdir(upper / NAME) == [NAME], "and nothing of the layer"
    assert len(os.listdir("/proc/self/fd")) < 100


def test_what_a_game_deleted_deep_is_noted(folder: Path, layer: Path, make_deep: Callable[..., None]) -> None:
    make_deep(folder / "upper", LEVELS, beside="side")
    linktree.build(folder, [layer])
    (at_level(folder / "merged", LEVELS - 1) / "side/in").rmdir()
    linktree.collect(folder)
    assert is_deletion((at_level(folder / "upper", LEVELS - 1) / "side/in").lstat())
    assert (at_level(folder / "upper", LEVELS - 2) / "side/in").is_dir()


def test_a_new_folder_in_place_of_a_deleted_one_hides_it(folder: Path, layer: Path) -> None:
    linktree.build(folder, [layer])
    delete_tree(folder / "merged" / NAME)
    linktree.collect(folder)
    linktree.build(folder, [layer])
    assert not (folder / "merged" / NAME).exists()
    (folder / "merged" / NAME).mkdir()
    linktree.collect(folder)
    linktree.build(folder, [layer])
    assert os.listdir(folder / "merged" / NAME) == []


def test_folders_too_deep_even_so_are_an_error_and_no_endless_work(
    folder: Path, layer: Path, make_deep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walking, "MOST_STARTS", 3)
    make_deep(folder / "upper", LEVELS)
    with pytest.raises(OSError, match="too deep"):
        linktree.build(folder, [layer])


def test_a_deep_tree_is_shared_with_the_games_group(
    tmp_path: Path, make_deep: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grp, "getgrnam", lambda name: SimpleNamespace(gr_gid=os.getgid()))
    (tmp_path / "layer").mkdir(mode=0o700)
    make_deep(tmp_path / "layer", LEVELS, beside="side")
    sharing.share(tmp_path / "layer")
    for depth, place in enumerate(levels(tmp_path / "layer")):
        assert os.fstat(place).st_mode & 0o070 == 0o070, depth
