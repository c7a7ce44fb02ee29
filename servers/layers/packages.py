"""`python -m servers.layers.packages FOLDER GAME_FOLDER RESULT`: what is in the add-on packages below FOLDER, as JSON.

Started by the build job without Django, secrets or database, as `servers.layers.unpack` is. The last line it prints is
the sentence when it ends with code 3.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from servers import vpk
from servers.layers.unpack import MEMORY, REFUSED

MOST_INSIDE = 300_000  # files in all packages of one build
MOST_CAMPAIGNS = 500


def main(root: Path, folder: str, result: Path) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        result.write_text(json.dumps(look_into(root, folder)))
    except vpk.VpkError as error:
        print(error)
        return REFUSED
    return 0


def look_into(root: Path, folder: str) -> dict[str, list[Any]]:
    """`inside`: path, size and package of each file; `campaigns`; `maps`. Raises `VpkError` with a whole sentence."""
    inside: list[tuple[str, int, str]] = []
    campaigns: list[dict[str, Any]] = []
    maps: set[str] = set()
    for name in _packages(root):
        try:
            entries = vpk.read_directory(root / name)
            campaigns += [vpk.as_json(found, name) for found in vpk.campaigns_of(root / name, entries)]
        except vpk.VpkError as error:
            raise vpk.VpkError(f"{name} is damaged: {error} Get it again, or take it out.") from error
        inside += [(f"{folder}/{path}", size, name) for path, size in {one.path: one.size for one in entries}.items()]
        maps.update(vpk.maps_of(entries))
        if len(inside) > MOST_INSIDE or len(campaigns) > MOST_CAMPAIGNS:
            raise vpk.VpkError(
                f"Its add-ons hold more than {MOST_INSIDE} files or {MOST_CAMPAIGNS} campaigns together. "
                "Make several layers of them."
            )
    return {"inside": inside, "campaigns": campaigns, "maps": sorted(maps)}


def _packages(root: Path) -> list[str]:
    found = (os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names)
    return sorted(name for name in found if name.lower().endswith(".vpk"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
