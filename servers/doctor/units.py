"""Units: the shipped files are the installed ones, their directives are in force, exposure stays below its bound."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from servers.doctor.check import Check, State, verdict
from servers.doctor.machine import output
from servers.runtime.bus import Bus

SHIPPED = settings.BASE_DIR / "deploy" / "units"
INSTALLED = Path("/etc/systemd/system")
SOCKET = "/run/left4me/web.sock"
RUNNING = (
    "left4me-web.service", "left4me-worker.service", "left4me-agent.service", "left4me-measure.socket",
    "left4me.target",
)  # fmt: skip
# An instance of a template stands for all; none of this name exists, since names of servers have no underscore.
PROBE = "doctor_probe"
# systemd-analyze security; `worker` and `agent` talk to the host's D-Bus, `overlay` mounts as root.
EXPOSURE = {
    "server@": 1.5, "web": 1.5, "worker": 2.0, "agent": 2.0, "overlay@": 4.2, "build@": 1.0, "build-net@": 1.5,
    "measure": 1.6,
}  # fmt: skip
# The fuse driver's program that mounts is setuid, which rules out most of what lowers the overlay's.
FUSE_DROP_IN, FUSE_EXPOSURE = "left4me-overlay-fuse.conf", 7.5
# Each gives the unit a mount namespace of its own, in which its mounts are seen by nobody else.
CUTS_OFF = (
    "PrivateTmp", "PrivateDevices", "PrivateUsers", "PrivateMounts", "ProtectSystem", "ProtectHome", "ProtectProc",
    "ProcSubset", "ProtectControlGroups", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
    "RootDirectory", "RootImage", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "TemporaryFileSystem",
    "BindPaths", "BindReadOnlyPaths",
)  # fmt: skip
OFF: tuple[object, ...] = (False, "", "no", "default", "all", [], 0)


def examine() -> Iterator[Check]:
    bus = Bus()
    yield _files(bus)
    yield _running(bus)
    yield _in_force(bus)
    yield _not_cut_off(bus)
    yield _exposure(bus)


def _files(bus: Bus) -> Check:
    """What systemd has loaded is what is shipped, and nobody added to it."""
    wrong = []
    for shipped in sorted([*SHIPPED.glob("*.service"), *SHIPPED.glob("*.slice")]):
        installed = INSTALLED / shipped.name
        if not installed.exists() or installed.read_bytes() != shipped.read_bytes():
            wrong.append(f"{installed} is not the shipped one.")
            continue
        known = bus.load(_instance(shipped.name))
        if known["NeedDaemonReload"]:
            wrong.append(f"{shipped.name} changed since it was loaded: systemctl daemon-reload.")
        wrong += [
            f"{path} changes {shipped.name}."
            for path in known["DropInPaths"]
            if not (SHIPPED / Path(path).name).exists() and not path.startswith(("/run/", "/usr/lib/"))
        ]
    return verdict("unit files", wrong, "installed as shipped.", state=State.WARN)


def _running(bus: Bus) -> Check:
    wrong = []
    for unit in RUNNING:
        known = bus.load(unit)
        if known["ActiveState"] != "active":
            wrong.append(f"{unit} is {known['ActiveState']}: journalctl -u {unit}.")
    if not wrong and not _web_answers():
        wrong.append("The web process does not answer: journalctl -u left4me-web.")
    return verdict("portal units", wrong, "web, worker and agent are up; the web process answers.")


def _web_answers() -> bool:
    with socket.socket(socket.AF_UNIX) as web:
        web.settimeout(5)
        try:
            web.connect(SOCKET)
            web.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in web.recv(100)
        except OSError:
            return False


def _in_force(bus: Bus) -> Check:
    """Directives of the shipped files whose value systemd shows as a word or a yes, compared with what it shows."""
    wrong, count = [], 0
    for shipped in sorted(SHIPPED.glob("*.service")):
        known, given = bus.load(_instance(shipped.name)), directives(shipped.read_text())
        for path in known["DropInPaths"]:
            if (SHIPPED / Path(path).name).exists():
                given |= directives((SHIPPED / Path(path).name).read_text())
        for key, value in given.items():
            shown = known.get(key)
            if isinstance(shown, bool):
                shown = "yes" if shown else "no"
            if not isinstance(shown, str) or "%" in value or key == "ExecStart":
                continue
            count += 1
            if shown != value:
                wrong.append(f"{shipped.name}: {key} is {shown or 'not set'}, shipped is {value}.")
    return verdict("directives", wrong, f"{count} are in force as shipped.")


def directives(text: str) -> dict[str, str]:
    """Last value of each directive of the [Service] section."""
    section = text.partition("[Service]")[2]
    return dict(re.findall(r"^([A-Z]\w+)=(.+)$", section, re.MULTILINE))


def _not_cut_off(bus: Bus) -> Check:
    known = bus.load(_instance("left4me-overlay@.service"))
    wrong = [
        f"{key}={known[key]} cuts its mounts off from the games: remove it." for key in CUTS_OFF if _set(known, key)
    ]
    return verdict("overlay namespace", wrong, "mounts are made in the host's own namespace.")


def _set(known: dict[str, Any], key: str) -> bool:
    return known.get(key, "") not in OFF


def _exposure(bus: Bus) -> Check:
    found, wrong = [], []
    for name, usual in EXPOSURE.items():
        unit = _instance(f"left4me-{name}.service")
        level = re.search(
            r"exposure level for \S+: ([\d.]+)", output("systemd-analyze", "security", "--no-pager", unit)
        )
        if not level:
            wrong.append(f"{unit} cannot be analysed.")
            continue
        found.append(f"{name.rstrip('@')} {level[1]}")
        drop_ins = [Path(path).name for path in bus.load(unit)["DropInPaths"]]
        bound = FUSE_EXPOSURE if FUSE_DROP_IN in drop_ins else usual
        if float(level[1]) > bound:
            wrong.append(f"{name.rstrip('@')} is at {level[1]}, above {bound}.")
    return verdict("exposure", wrong, ", ".join(found))


def _instance(unit: str) -> str:
    return unit.replace("@.", f"@{PROBE}.")
