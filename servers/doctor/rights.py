"""What the portal's user may do, found out by trying: the polkit rule, the games' journal, the folders."""

import grp
import os
import pwd
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from servers.doctor.check import PORTAL_USER, Check, State, as_portal, is_root, verdict
from servers.doctor.machine import output
from servers.doctor.units import PROBE
from servers.runtime.bus import Bus, Refused
from servers.runtime.journal import NAMESPACE, Journal, JournalError

# Units that do not exist: where polkit errs, the call still does nothing.
ALLOWED = f"left4me-server@{PROBE.replace('_', '-')}.service"
SCRIPT = f"left4me-build@{'9' * 18}.service"
FORBIDDEN = "left4me-doctor-probe.service"
FENCE = "/opt/left4me/current/deploy/libexec/fence.nft"
FENCE_RULES = ("hook output", "fib daddr type local goto refuse", r"ip daddr 169\.254\.0\.0/16 goto refuse")
DENIED = ("AccessDenied", "InteractiveAuthorizationRequired")
# Group, and mode. What is mounted below games is closed to them: they reach it through their own mount alone.
FOLDERS = {
    "installations": ("left4me-game", 0o2700),
    "layers": ("left4me-game", 0o2700),
    "runtime": ("left4me-game", 0o2751),
    "builds": ("left4me-build", 0o2750),
}


def examine() -> Iterator[Check]:
    if not is_root():
        yield Check("rights", State.WARN, "not examined: run this as root (sudo left4me doctor).")
        return
    yield _polkit()
    yield _journal()
    yield _folders()
    yield _fence()


def _polkit() -> Check:
    with as_portal():
        bus = Bus()
        wrong = []
        wrong += [
            f"The worker may not stop {what}: is polkitd running, is 50-left4me.rules in place?"
            for what, unit in {"games": ALLOWED, "scripts": SCRIPT}.items()
            if _refused(bus, "StopUnit", unit)
        ]
        wrong += [
            f"polkit lets {PORTAL_USER} call {call} on {FORBIDDEN}: look for other rules in /etc/polkit-1."
            for call in ("StopUnit", "StartUnit")
            if not _refused(bus, call, FORBIDDEN)
        ]
        if not _refused_property(bus):
            wrong.append(f"polkit lets {PORTAL_USER} set properties of games.")
    return verdict("polkit", wrong, "games and scripts may be started and stopped, nothing else.")


def _refused(bus: Bus, call: str, unit: str) -> bool:
    try:
        bus.call(call, "ss", unit, "replace")
    except Refused as error:
        return error.error.endswith(DENIED)
    return False


def _refused_property(bus: Bus) -> bool:
    try:
        bus.call("SetUnitProperties", "sba(sv)", ALLOWED, True, [])
    except Refused as error:
        return error.error.endswith(DENIED)
    return False


def _journal() -> Check:
    """libsystemd passes over folders that it may not read, so the folder is tried as well."""
    try:
        [folder] = Path("/var/log/journal").glob(f"*.{NAMESPACE}")
        with as_portal(grp.getgrnam("left4me-journal").gr_gid):
            os.listdir(folder)
            Journal().tail(ALLOWED, 1, since=0)
    except (JournalError, OSError, KeyError, ValueError) as error:
        mend = "Run: systemd-tmpfiles --create left4me.conf"
        return Check("journal", State.FAIL, f"the games' lines cannot be read: {error}. {mend}")
    return Check("journal", State.OK, "the agent reads the games' lines.")


def _folders() -> Check:
    """Owned by the portal, another's group by the setgid bit, and open to nobody else than is meant."""
    owner = pwd.getpwnam(PORTAL_USER).pw_uid
    wrong = []
    for name, (group, bits) in FOLDERS.items():
        facts = os.stat(settings.STATE_DIR / name)
        if (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) != (owner, grp.getgrnam(group).gr_gid, bits):
            wrong.append(
                f"{settings.STATE_DIR / name} has wrong owners or mode: systemd-tmpfiles --create left4me.conf"
            )
    return verdict("folders", wrong, f"{settings.STATE_DIR} belongs to {PORTAL_USER}.")


def _fence() -> Check:
    """The rules for what games may reach, which each start of a game loads: without games none may be there yet."""
    found = output("nft", "list", "table", "inet", "left4me")
    groups = [grp.getgrnam(name) for name in ("left4me-game", "left4me-build")]
    fenced = [rf'skgid ("?{group.gr_name}"?|{group.gr_gid}) goto judge' for group in groups]
    holds = all(re.search(rule, found) for rule in [*FENCE_RULES, *fenced])
    runs = any(unit.active not in ("inactive", "failed") for unit in Bus().units("left4me-server@*.service").values())
    wrong = [f"Games can reach this machine's own services: something removed our rules. Run nft -f {FENCE}."]
    fine = "games cannot reach this machine's services." if holds else "no game runs; the next start sets the rules."
    return verdict("packet filter", wrong if runs and not holds else [], fine)
