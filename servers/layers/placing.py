"""Moves what was unpacked to where the game looks for it: people pack add-ons in every way."""

from pathlib import Path

from servers.games import Game

# Folders that a Source game reads right below its own (left4dead2/); an archive may begin with any of them.
CONTENT = {
    *("addons", "bin", "cfg", "expressions", "maps", "materials", "media", "missions", "models", "particles"),
    *("resource", "scenes", "scripts", "sound"),
}
LOOSE = {".vpk", ".txt", ".md", ".jpg", ".jpeg", ".png"}  # what lies around a bare add-on
WRAPPERS = 3


def put_where_wanted(root: Path, game: Game) -> None:
    """Rearrange the tree at `root` for a game that takes add-ons; any other game's is taken as it is."""
    if not game.addons:
        return
    folder, _, _ = game.addons.partition("/")
    for _ in range(WRAPPERS):
        found = list(root.iterdir())
        if len(found) != 1 or not found[0].is_dir() or found[0].name.lower() in CONTENT | {folder}:
            break
        _unwrap(root, found[0])
    found = list(root.iterdir())
    if any(path.suffix.lower() == ".vpk" for path in found) and all(_is_loose(path) for path in found):
        _move(root, found, root / game.addons)
    elif not (root / folder).is_dir() and any(path.name.lower() in CONTENT for path in found):
        _move(root, found, root / folder)


def _is_loose(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in LOOSE


def _unwrap(root: Path, only: Path) -> None:
    """The one folder everything is in goes; it is moved away first, since it may hold one of its own name."""
    aside = only.rename(root.with_name(f"{root.name}.wrapped"))
    for path in aside.iterdir():
        path.rename(root / path.name)
    aside.rmdir()


def _move(root: Path, found: list[Path], target: Path) -> None:
    aside = root.with_name(f"{root.name}.moved")
    aside.mkdir()
    for path in found:
        path.rename(aside / path.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside.rename(target)
