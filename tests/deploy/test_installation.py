"""The installer, upgrades, the doctor and the removal on a real host."""

import json
import re

import pytest

from tests.deploy.installed import INSTALLER, PIP, Installed

pytestmark = pytest.mark.host
OVERLAY, WEB = "/etc/systemd/system/left4me-overlay@.service", "/etc/systemd/system/left4me-web.service"
POLKIT = "systemctl restart polkit"
RELOAD, RULES, JOURNAL = "systemctl daemon-reload", "/etc/polkit-1/rules.d", "/var/log/journal/*.left4me"
BOUNDS = {
    "server@x": 1.5,
    "web": 1.5,
    "worker": 2.0,
    "agent": 2.0,
    "overlay@x": 4.2,
    "build@1": 1.0,
    "build-net@1": 1.5,
    "measure": 1.6,
}


def doctor(portal: Installed) -> dict[str, dict[str, str]]:
    found = json.loads(portal.host.run("left4me", "doctor", "--json", check=False).stdout)
    return {check["name"]: check for check in found["checks"]} | {"": {"ok": str(found["ok"])}}


@pytest.fixture(params=["portal", "portal12"], ids=["debian13", "debian12"])
def anywhere(request: pytest.FixtureRequest) -> Installed:
    found: Installed = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("unit", BOUNDS)
def test_the_exposure_of_a_unit_stays_below_its_bound(portal: Installed, unit: str) -> None:
    said = portal.host.run("systemd-analyze", "security", "--no-pager", f"left4me-{unit}.service").stdout
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert level
    assert float(level[1]) <= BOUNDS[unit], said


def test_the_units_pass_systemd_analyze_verify(anywhere: Installed) -> None:
    units = "left4me-web.service left4me-worker.service left4me-agent.service left4me-server@x.service"
    units += " left4me-build@1.service left4me-build-net@1.service"
    units += " left4me-measure.socket left4me-measure.service"
    said = anywhere.host.sh(
        f"systemd-analyze verify {units} left4me-overlay@x.service left4me.target 2>&1", check=False
    )
    assert "left4me" not in said.stdout, said.stdout


def test_the_doctor_is_content_after_an_installation(anywhere: Installed) -> None:
    found = doctor(anywhere)
    assert found[""]["ok"] == "True", [check for check in found.values() if check.get("state") == "fail"]
    assert {"polkit", "journal", "exposure", "directives", "propagation", "schema"} <= set(found)


def test_installing_again_changes_nothing_and_keeps_the_settings(anywhere: Installed) -> None:
    before = anywhere.host.sh(
        "cat /etc/left4me/left4me.env; readlink /opt/left4me/current; ls /opt/left4me/releases"
    ).stdout
    said = anywhere.install()
    after = anywhere.host.sh(
        "cat /etc/left4me/left4me.env; readlink /opt/left4me/current; ls /opt/left4me/releases"
    ).stdout
    assert before == after
    assert "there is an admin already" in said


def test_a_dry_run_says_the_steps_and_takes_none(anywhere: Installed) -> None:
    look = "find /opt/left4me /etc/left4me /etc/systemd /etc/caddy -newer /tmp/mark | wc -l"
    anywhere.host.sh("touch /tmp/mark; sleep 0.1")
    said = anywhere.host.sh(f"{INSTALLER} --dry-run --site {anywhere.site}").stdout
    assert said.count("== ") >= 10
    assert anywhere.host.sh(look).stdout.strip() == "0"


@pytest.mark.parametrize(
    ("breakage", "mend", "check", "says"),
    [
        (
            f"mkdir -p {OVERLAY}.d; printf '[Service]\\nPrivateTmp=yes\\n' > {OVERLAY}.d/tidy.conf; {RELOAD}",
            *(f"rm {OVERLAY}.d/tidy.conf; {RELOAD}", "overlay namespace", "PrivateTmp"),
        ),
        (
            f"mv {RULES}/50-left4me.rules /root/; {POLKIT}",
            *(f"mv /root/50-left4me.rules {RULES}/; {POLKIT}", "polkit", "may not stop games"),
        ),
        (
            f"echo 'polkit.addRule(function(a, s) {{ return polkit.Result.YES; }});' > {RULES}/10-all.rules; {POLKIT}",
            *(f"rm {RULES}/10-all.rules; {POLKIT}", "polkit", "look for other rules"),
        ),
        (
            f"setfacl -b {JOURNAL}; chmod 700 {JOURNAL}",
            *(f"chmod 2750 {JOURNAL}; systemd-tmpfiles --create left4me.conf", "journal", "cannot be read"),
        ),
        (
            f"sed -i 's/^NoNewPrivileges=yes/NoNewPrivileges=no/' {WEB}; {RELOAD}",
            f"sed -i 's/^NoNewPrivileges=no/NoNewPrivileges=yes/' {WEB}; {RELOAD}",
            *("directives", "NoNewPrivileges is no"),
        ),
        ("systemctl stop left4me-agent", "systemctl start left4me-agent", "portal units", "left4me-agent"),
        ("mount --make-private /", "mount --make-shared /", "propagation", "private"),
    ],
    ids=["private tmp", "no rule", "another rule", "journal", "weakened unit", "no agent", "propagation"],
)
def test_the_doctor_finds_what_was_broken(portal: Installed, breakage: str, mend: str, check: str, says: str) -> None:
    portal.host.sh(breakage)
    try:
        found = doctor(portal)
    finally:
        portal.host.sh(mend)
    assert found[""]["ok"] == "False"
    assert found[check]["state"] == "fail"
    assert says in found[check]["detail"]


def test_the_doctors_timer_keeps_its_findings_for_the_admins_page(portal: Installed) -> None:
    assert portal.host.show("left4me-doctor.timer", "ActiveState")["ActiveState"] == "active"
    portal.host.run("systemctl", "start", "left4me-doctor.service", timeout=120)
    listed = portal.http.get("/admin/servers/hostreport/").text
    [page] = set(re.findall(r'href="(/admin/servers/hostreport/[^"]+/change/)', listed))
    assert "overlay namespace" in portal.http.get(page).text


def new_version(portal: Installed, *changes: str) -> str:
    """A checkout that differs from the installed one; returns its folder in the host."""
    portal.host.sh(
        "rm -rf /root/new && mkdir /root/new && cd /mnt/checkout"
        " && cp -r manage.py portal servers jobs deploy requirements.txt pyproject.toml LICENSE /root/new/"
    )
    for change in changes:
        portal.host.sh(f"cd /root/new && {change}")
    return "/root/new"


def test_an_upgrade_leaves_games_running_and_keeps_a_backup(portal: Installed) -> None:
    name = portal.make("veteran")
    before = portal.main_pid(name)
    folder = new_version(portal, "echo '# newer' >> portal/settings.py")
    said = portal.host.sh(f"{PIP} {folder}/deploy/upgrade.sh", timeout=600).stdout
    assert "backing up the database" in said
    assert portal.main_pid(name) == before
    assert portal.host.sh("tail -1 /opt/left4me/current/portal/settings.py").stdout == "# newer\n"
    assert portal.host.sh("ls /var/backups/left4me/*.dump").stdout
    portal.shows(name, "running")
    portal.power(name, "stop")


def test_an_upgrade_that_fails_is_undone(portal: Installed) -> None:
    before = portal.host.sh("readlink /opt/left4me/current").stdout
    broken = "sed -i '1i raise SystemExit(3)' servers/management/commands/agent.py"
    folder = new_version(portal, broken)
    done = portal.host.sh(f"{PIP} {folder}/deploy/upgrade.sh", timeout=600, check=False)
    assert done.returncode == 1, done.stdout
    assert "was undone" in done.stderr, done.stderr
    assert portal.host.sh("readlink /opt/left4me/current").stdout == before
    assert portal.http.get("/readyz").status_code == 200
    assert doctor(portal)[""]["ok"] == "True"
