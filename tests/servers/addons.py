"""Makes VPK files as Valve's own tool does, for tests."""

import struct
import zlib
from collections import defaultdict

MISSION = """"mission"
{{
  "Name" "{name}" // ours
  "DisplayTitle" "{title}"
  "modes" {{ "coop" {{ "1" {{ "Map" "{map}" }} }} "versus" {{ "1" {{ "Map" "{map}" }} }} }}
}}
"""


def vpk(files: dict[str, bytes], version: int = 1) -> bytes:
    """A package with these files, all their data behind the directory."""
    tree: dict[str, dict[str, list[tuple[str, bytes]]]] = defaultdict(lambda: defaultdict(list))
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        stem, _, extension = name.rpartition(".") if "." in name else (name, "", "")
        tree[extension or " "][folder or " "].append((stem, data))
    directory, body = b"", b""
    for extension, folders in tree.items():
        directory += extension.encode() + b"\0"
        for folder, names in folders.items():
            directory += folder.encode() + b"\0"
            for name, data in names:
                entry = struct.pack("<IHHIIH", zlib.crc32(data), 0, 0x7FFF, len(body), len(data), 0xFFFF)
                directory += name.encode() + b"\0" + entry
                body += data
            directory += b"\0"
        directory += b"\0"
    directory += b"\0"
    header = struct.pack("<III", 0x55AA1234, version, len(directory))
    if version == 2:
        header += struct.pack("<IIII", len(body), 0, 0, 0)
    return header + directory + body


def campaign(name: str, title: str, map_name: str, **more: bytes) -> bytes:
    """An add-on that brings a campaign of one map."""
    mission = MISSION.format(name=name, title=title, map=map_name).encode()
    extra = {key.replace("__", "/").replace("_nut", ".nut"): data for key, data in more.items()}
    return vpk({f"missions/{name}.txt": mission, f"maps/{map_name}.bsp": b"VBSP", **extra})
