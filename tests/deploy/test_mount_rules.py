"""Why the mount is a unit of its own: which directives let a unit's mount reach the host and the games.

Each row starts a unit that mounts with fuse-overlayfs as an ordinary user, with one directive added, and then a
sandboxed unit inside the mount. deploy/units/left4me-overlay@.service rests on this table; a systemd that changes the
rules is noticed here.
"""

from typing import NamedTuple

import pytest

from tests.deploy.host import Host

pytestmark = pytest.mark.host

PLACE = "/var/lib/probe"
SEEN, CUT_OFF, REFUSED = (True, True, True), (True, False, False), (False, False, False)


class Row(NamedTuple):
    """What (mount works, host sees it, game starts) is with systemd 257, and with 252 where that differs."""

    directives: str
    now: tuple[bool, bool, bool]
    before: tuple[bool, bool, bool] | None = None


ROWS = [
    Row("", SEEN),
    Row("MountFlags=shared", SEEN),
    Row("PrivateTmp=yes", CUT_OFF),
    Row("PrivateTmp=yes MountFlags=shared", CUT_OFF),
    Row(f"ProtectSystem=full ReadWritePaths={PLACE}", CUT_OFF),
    Row(f"ProtectSystem=full ReadWritePaths={PLACE} MountFlags=shared", CUT_OFF),
    Row("NoNewPrivileges=yes", REFUSED),
    Row("ProtectHome=yes", CUT_OFF),
    Row("ProtectProc=invisible", CUT_OFF),
    Row("ProtectControlGroups=yes", CUT_OFF),
    Row("ProtectKernelTunables=yes", CUT_OFF, REFUSED),
    Row("ProtectKernelModules=yes", CUT_OFF, REFUSED),
    Row("ProtectKernelLogs=yes", CUT_OFF, REFUSED),
    Row("PrivateMounts=yes", CUT_OFF),
    Row("PrivateDevices=yes", REFUSED),
    Row("PrivateUsers=yes", REFUSED),
    Row("ProcSubset=pid", REFUSED),
    Row("CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SETUID CAP_SETGID CAP_DAC_OVERRIDE", SEEN),
    Row("UMask=0077", SEEN),
    Row("KeyringMode=private", SEEN),
    Row("RemoveIPC=yes", SEEN),
    Row("SystemCallFilter=~@obsolete", SEEN, REFUSED),
    Row("SystemCallArchitectures=native", SEEN, REFUSED),
    Row("RestrictAddressFamilies=AF_UNIX", SEEN, REFUSED),
    Row("LockPersonality=yes", SEEN, REFUSED),
    Row("RestrictRealtime=yes", SEEN, REFUSED),
    Row("RestrictSUIDSGID=yes", SEEN, REFUSED),
    Row("MemoryDenyWriteExecute=yes", SEEN, REFUSED),
    Row("RestrictNamespaces=yes", SEEN, REFUSED),
    Row("ProtectClock=yes DeviceAllow=/dev/fuse", SEEN, REFUSED),
    Row("ProtectHostname=yes", SEEN, REFUSED),
]

MOUNT_UNIT = """[Service]
Type=oneshot
RemainAfterExit=yes
User=probe
ExecStart=/bin/sh -c 'cd {place} && fuse-overlayfs -o allow_other,lowerdir=lower,upperdir=upper,workdir=work merged \
&& test -d merged/inside'
ExecStopPost=-+/usr/bin/umount -l {place}/merged
{directives}
"""
GAME_UNIT = f"""[Unit]
StartLimitIntervalSec=0
[Service]
Type=oneshot
User=nobody
WorkingDirectory={PLACE}/merged/inside
ExecStart=/usr/bin/test -e here
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
ProtectHome=yes
"""


@pytest.fixture(scope="session")
def probed() -> set[str]:
    """Names of the hosts the probes were written to."""
    return set()


@pytest.fixture(params=["trixie", "bookworm"])
def host(request: pytest.FixtureRequest, probed: set[str]) -> Host:
    """A Debian with a probe unit a row, written once."""
    found: Host = request.getfixturevalue(request.param)
    if found.suite not in probed:
        probed.add(found.suite)
        found.sh(
            f"useradd --system probe; mkdir -p {PLACE}/lower/inside {PLACE}/upper {PLACE}/work {PLACE}/merged;"
            f"touch {PLACE}/lower/inside/here; chown -R probe: {PLACE}"
        )
        for number, row in enumerate(ROWS):
            lines = row.directives.replace(" CAP_", "\0CAP_").replace(" ", "\n").replace("\0", " ")
            found.write(f"/etc/systemd/system/probe-{number}.service", MOUNT_UNIT.format(place=PLACE, directives=lines))
        found.write("/etc/systemd/system/probe-game.service", GAME_UNIT)
        found.sh("systemctl daemon-reload")
    return found


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.directives or "nothing" for row in ROWS])
def test_a_directive_does_to_a_mounting_unit_what_the_design_rests_on(host: Host, number: int) -> None:
    row = ROWS[number]
    expected = row.before if row.before and host.systemd < 257 else row.now
    try:
        mounts = host.run("systemctl", "start", f"probe-{number}", check=False).returncode == 0
        seen = f" {PLACE}/merged " in host.sh("cat /proc/1/mountinfo").stdout
        starts = host.run("systemctl", "start", "probe-game", check=False).returncode == 0
        ended = host.show("probe-game", "ExecMainStatus")["ExecMainStatus"]
    finally:
        host.run("systemctl", "stop", f"probe-{number}", check=False)
    assert (mounts, seen, starts) == expected, host.journal(f"probe-{number}")
    assert ended == ("0" if starts else "200"), "a game outside its mount fails with 200/CHDIR"
    assert f" {PLACE}/merged " not in host.sh("cat /proc/1/mountinfo").stdout, "nothing is left for the next row"
