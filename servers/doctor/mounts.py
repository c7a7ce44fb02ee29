"""Mounts, as each running game sees them: read from inside its namespace and compared with the database."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from servers.doctor import limits
from servers.doctor.check import Check, State, as_portal, is_root, verdict
from servers.models import Server
from servers.runtime.bus import Bus

FLAGS = {"nosuid", "nodev"}
KINDS = ("overlay", "fuse.fuse-overlayfs")
ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}  # proc(5), mountinfo


class Mount(NamedTuple):
    """One line of mountinfo."""

    place: str
    options: set[str]
    shared: bool
    kind: str
    source: str
    layers: int


def read_mounts(process: int | str) -> list[Mount]:
    """The mounts that a process sees, in the order they were made."""
    return [_parse(line) for line in Path(f"/proc/{process}/mountinfo").read_text().splitlines()]


def _parse(line: str) -> Mount:
    left, _, right = line.partition(" - ")
    fields, (kind, source, own) = left.split(" "), right.split(" ", 2)
    place = fields[4]
    for escape, character in ESCAPES.items():
        place, source = place.replace(escape, character), source.replace(escape, character)
    lower = next((option for option in own.split(",") if option.startswith("lowerdir=")), "")
    return Mount(
        place, set(fields[5].split(",")), any(field.startswith("shared:") for field in fields[6:]), kind, source,
        lower.count(":") + 1 if lower else 0,
    )  # fmt: skip


def examine() -> Iterator[Check]:
    if not is_root():
        yield Check("mounts", State.WARN, "not examined: run this as root (sudo left4me doctor).")
        return
    bus = Bus()
    units = bus.units("left4me-server@*.service", "left4me-overlay@*.service")
    host = read_mounts(1)
    yield _propagation(host)
    yield _leftovers(host, {_server(name) for name, unit in units.items() if unit.active not in ("inactive", "failed")})
    with as_portal():
        here = Server.objects.present().filter(node__slug=settings.NODE).select_related("installation", "blueprint")
        known = {server.name: server for server in here}
    for unit in sorted(name for name in units if name.startswith("left4me-server@") and units[name].active == "active"):
        name, properties = _server(unit), bus.properties(units[unit])
        daemon = bus.load(f"left4me-overlay@{name}.service")["MainPID"]
        yield _game(name, known.get(name), properties["MainPID"], daemon)
        if server := known.get(name):
            yield limits.check(server, properties)


def _server(unit: str) -> str:
    return unit.partition("@")[2].removesuffix(".service")


def _propagation(host: list[Mount]) -> Check:
    """What is mounted below STATE_DIR must reach the games: the mount it lies on has to be shared."""
    below = [mount for mount in host if settings.STATE_DIR.is_relative_to(mount.place)]
    holder = max(below, key=lambda mount: len(mount.place))
    wrong = [] if holder.shared else [f"{holder.place} is private: run mount --make-rshared {holder.place}."]
    return verdict("propagation", wrong, f"{holder.place} is shared.")


def _leftovers(host: list[Mount], live: set[str]) -> Check:
    runtime = settings.STATE_DIR / "runtime"
    places = [Path(mount.place) for mount in host if Path(mount.place).is_relative_to(runtime)]
    wrong = [
        f"{place} is mounted but its server does not run: systemctl stop left4me-overlay@{place.parent.name}."
        for place in places
        if place.parent.name not in live
    ]
    return verdict("stale mounts", wrong, f"none; {len(places)} are mounted.")


def _game(name: str, server: Server | None, process: int, daemon: int) -> Check:
    """The tree that this game runs in: mounted, with the layers the database names, in order, with the right flags."""
    title = f"mount of {name}"
    if server is None or server.installation is None:
        return Check(title, State.WARN, "the database knows no such server that was started here.")
    tree = f"{settings.STATE_DIR}/runtime/{name}/merged"
    seen = [mount for mount in read_mounts(process) if mount.place == tree]
    if len(seen) != 1:
        return Check(title, State.FAIL, f"the game sees {len(seen)} mounts at {tree}. Stop and start the server.")
    mount, wrong = seen[0], []
    if mount.kind == "fuse.fuse-overlayfs":
        mount = mount._replace(source=_fuse_layers(daemon))
    layers = [f"{server.installation.game}/{server.installation.version}", *server.mounted]
    expected = ":".join(layers)
    if mount.kind not in KINDS:
        wrong.append(f"It is a {mount.kind}.")
    if mount.source != expected:
        wrong.append(f"Its layers are {mount.source}; the database says {expected}. Restart the server.")
    if missing := FLAGS - mount.options:
        wrong.append(f"It lacks {', '.join(sorted(missing))}.")
    if mount.kind == "overlay" and mount.layers != len(layers) + 1:
        wrong.append(f"It has {mount.layers} lower layers; expected are {len(layers) + 1}.")
    return verdict(title, wrong, f"proven: {mount.source} and its config, {mount.kind}, nosuid, nodev.")


def _fuse_layers(daemon: int) -> str:
    """What a fuse-overlayfs daemon has open as its lower layers, in the words of the kernel driver's mount source."""
    options = Path(f"/proc/{daemon}/cmdline").read_text().split("\0")[2]
    lower = options.partition("lowerdir=")[2].partition(",")[0].replace("/self/", f"/{daemon}/").split(":")
    folders = [Path(part).readlink() for part in reversed(lower)]
    return ":".join(str(Path(*folder.relative_to(settings.STATE_DIR).parts[1:])) for folder in folders[:-1])
