"""Plugins of make-believe: files beside the game that its console lists as Metamod and SourceMod do.

A file has lines `name:`, `version:` and `author:`, and `needs:` words that this version of the game has to have in
gamedata.txt: it fails to load where one is missing, as real ones do after an update of the game.
"""

from dataclasses import dataclass
from pathlib import Path

META, SOURCEMOD = Path("addons/metamod"), Path("addons/sourcemod/plugins")
GAMEDATA = Path(__file__).with_name("gamedata.txt")
MOST, BYTES = 100, 4096


@dataclass(frozen=True)
class Plugin:
    """A plugin as its file describes it; `missing` are the words it needs and the game lacks."""

    file: str
    name: str
    about: str
    missing: tuple[str, ...]


def plugins(folder: Path, pattern: str) -> list[Plugin]:
    known = set(GAMEDATA.read_text().split()) if GAMEDATA.exists() else set()
    return [_read(path, known) for path in sorted(folder.glob(pattern))[:MOST]]


def _read(path: Path, known: set[str]) -> Plugin:
    with path.open("rb") as file:
        lines = file.read(BYTES).decode(errors="replace").splitlines()
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    about = f" ({facts.get('version', '1.0')}) by {facts.get('author', 'nobody')}"
    missing = tuple(word for word in facts.get("needs", "").split() if word not in known)
    return Plugin(path.name, facts.get("name", path.stem), about, missing)


def meta(arguments: list[str]) -> str | None:
    """The answer to `meta list`, or nothing where there is no Metamod."""
    if arguments != ["list"] or not META.is_dir():
        return None
    found = plugins(META, "*.vdf")
    rows = [
        f"  [{number:02}]" + (" <FAILED>" if one.missing else f" {one.name}{one.about}")
        for number, one in enumerate(found, 1)
    ]
    return "\n".join([f"Listing {len(found)} plugins:", *rows])


def sourcemod(arguments: list[str]) -> str | None:
    """The answer to `sm plugins list`, or nothing where there is no SourceMod."""
    if arguments != ["plugins", "list"] or not SOURCEMOD.is_dir():
        return None
    found = plugins(SOURCEMOD, "*.smx")
    rows = [
        f"  {number:02}" + (f" <Failed> {one.file}" if one.missing else f' "{one.name}"{one.about}')
        for number, one in enumerate(found, 1)
    ]
    failed = [f"{one.file} ({one.name}): gamedata lacks {' '.join(one.missing)}" for one in found if one.missing]
    return "\n".join([f"[SM] Listing {len(found)} plugins:", *rows, *(["Errors:", *failed] if failed else [])])
