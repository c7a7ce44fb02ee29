"""Layers that scripts make, on a real host: built through the installed portal, attacked from inside the sandbox."""

import textwrap
from typing import Any

import pytest

from tests.deploy.installed import Installed, _csrf
from tests.stack import wait_for

pytestmark = pytest.mark.host
STATE, ENVIRONMENT = "/var/lib/left4me", "/etc/left4me/left4me.env"
# Each line of its output: what was tried, and whether it was done.
ATTACKS = r"""
echo "user|$(id -un)"
echo "processes|$(ls /proc | grep -c '^[0-9]*$')"
echo "folder|$(ls -A | wc -l)"
echo "scratch|$(ls -A /tmp | wc -l)"
attempt() {
    what=$1; shift
    if "$@" >/tmp/said 2>&1; then echo "$what|DONE|$(head -c 200 /tmp/said)"; else echo "$what|refused"; fi
}
attempt "portal's settings" cat /etc/left4me/left4me.env
attempt "other builds" ls /var/lib/left4me/builds
attempt "servers' files" ls /var/lib/left4me/runtime
attempt "database" ls /var/lib/postgresql /run/postgresql
attempt "release" ls /opt/left4me/current/portal
attempt "journal" ls /var/log/journal
attempt "passwords" cat /etc/shadow
attempt "homes" ls -A /root/. /home/somebody
attempt "network" bash -c 'exec 3<>/dev/tcp/127.0.0.1/@PORT@'
attempt "bus" busctl --system list
attempt "bus socket" test -e /run/dbus/system_bus_socket
attempt "systemd" systemctl stop left4me-web
attempt "web socket" test -e /run/left4me/web.sock
attempt "kill" kill -9 @VICTIM@
attempt "see" test -e /proc/@VICTIM@
attempt "mount" mount -t tmpfs none /mnt
attempt "bind" mount --bind /etc /run/left4me/layer
attempt "namespace" unshare -Ur true
attempt "sudo" setpriv --reuid 0 true
attempt "su" su -c id
attempt "device" mknod /tmp/disk b 8 0
attempt "setuid" bash -c 'cp /bin/true /tmp/t && chmod 4755 /tmp/t && test -u /tmp/t'
attempt "system" touch /usr/bin/evil
attempt "etc" touch /etc/evil
attempt "shared memory" touch /dev/shm/evil
attempt "its order" bash -c 'echo x >> /run/left4me/order.json'
attempt "its script" bash -c 'echo x >> /run/left4me/script'
attempt "kernel" bash -c 'echo x > /proc/sys/kernel/core_pattern'
attempt "cgroup" bash -c 'echo 1 > /sys/fs/cgroup/cgroup.procs'
attempt "nice" renice -n -5 $$
mkdir -m 700 -p practice/deep
echo -n fine > practice/deep/motd
chmod 600 practice/deep/motd
echo over
"""


def make(portal: Installed, name: str, script: str, *, network: bool = False) -> dict[str, Any]:
    """Write the layer on its page as an admin does; returns its job."""
    form = {"name": name, "game": "practice", "visibility": "private", "script": script}
    post(portal, "/new-layer/?kind=script", **form | ({"network": "on"} if network else {}))
    return job_of(portal, name)


def post(portal: Installed, path: str, *, page: str = "", **form: str) -> None:
    answer = portal.http.post(path, data=form | _csrf(portal.http.get(page or path)))
    assert answer.status_code == 200, answer.text


def job_of(portal: Installed, name: str) -> dict[str, Any]:
    """The newest job of that layer."""
    query = f"SELECT max(id) FROM jobs_job WHERE title = 'Build {name}'"
    number = portal.host.run("runuser", "-u", "postgres", "--", "psql", "-qAt", "left4me", "-c", query).stdout
    return portal.api("GET", f"/jobs/{number.strip()}")


def units(portal: Installed) -> str:
    return portal.host.sh("systemctl list-units --no-legend --all 'left4me-build*'").stdout.strip()


def builds(portal: Installed) -> str:
    return portal.host.sh(f"ls {STATE}/builds").stdout


@pytest.fixture(params=["portal", "portal12"], ids=["debian13", "debian12"])
def anywhere(request: pytest.FixtureRequest) -> Installed:
    found: Installed = request.getfixturevalue(request.param)
    return found


def test_a_script_makes_a_layer_and_reaches_nothing_outside_its_folder(anywhere: Installed) -> None:
    portal = anywhere
    victim = portal.host.show("left4me-web", "MainPID")["MainPID"]
    portal.host.sh(f"mkdir -p {STATE}/builds/99; echo secret > {STATE}/builds/99/script")
    script = ATTACKS.replace("@VICTIM@", victim).replace("@PORT@", portal.site.rpartition(":")[2])
    job = portal.job(make(portal, "Attacker", script)["id"])
    portal.host.sh(f"rm -r {STATE}/builds/99")
    assert job["state"] == "succeeded", f"{job['error']}\n" + "\n".join(job["lines"])
    tried = {line.split("|")[0]: line for line in job["lines"] if "|" in line}
    assert "over" in job["lines"]
    assert len(tried) >= 33
    assert [line for line in tried.values() if "|DONE|" in line] == []
    assert tried["folder"] == "folder|0"
    assert tried["scratch"] == "scratch|0"
    if portal.host.systemd >= 257:
        assert tried["user"] == "user|left4me-build"
        assert int(tried["processes"].split("|")[1]) < 8
    assert portal.host.show("left4me-web", "MainPID")["MainPID"] == victim
    layer = portal.api("GET", "/layers/attacker")
    assert (layer["kind"], layer["files"], layer["size"]) == ("script", 1, 4)
    made = f"{STATE}/layers/{layer['digest']}/practice/deep/motd"
    assert portal.host.sh(f"stat -c '%U %a' {made}; cat {made}").stdout == "left4me 644\nfine"
    assert units(portal) == ""
    assert builds(portal) == ""


def test_a_ticked_script_has_the_network_but_none_of_the_machines_own_services(portal: Installed) -> None:
    reach = textwrap.dedent(
        """
        getent hosts localhost > hosts
        if exec 3<>/dev/tcp/127.0.0.1/@PORT@; then echo reached; else echo refused; fi
        """
    ).replace("@PORT@", portal.site.rpartition(":")[2])
    job = portal.job(make(portal, "Networked", reach, network=True)["id"])
    assert job["state"] == "succeeded", f"{job['error']}\n" + "\n".join(job["lines"])
    if addresses_are_filtered(portal):
        assert "refused" in job["lines"]


def addresses_are_filtered(portal: Installed) -> bool:
    """IPAddressDeny= needs BPF programs on cgroups."""
    connect = f"exec 3<>/dev/tcp/127.0.0.1/{portal.site.rpartition(':')[2]}"
    probe = ["systemd-run", "-q", "--wait", "-p", "IPAddressDeny=any", "bash", "-c", connect]
    return portal.host.run(*probe, check=False).returncode != 0


def test_a_link_is_refused_by_name_and_a_flood_is_ended(anywhere: Installed) -> None:
    portal = anywhere
    job = portal.job(make(portal, "Linked", "mkdir a; ln -s /etc/passwd a/link")["id"])
    assert (job["state"], job["error"]) == ("failed", "“a/link” is a link or a device. Leave only files and folders.")
    portal.host.sh(f"echo LEFT4ME_SCRIPT_DISK={50 << 20} >> {ENVIRONMENT}; systemctl restart left4me-worker")
    try:
        flood = "mkdir closed; cd closed; head -c 30M /dev/zero | tee one > two; chmod 0 .; sleep 600"
        job = portal.job(make(portal, "Flood", flood)["id"])
    finally:
        portal.host.sh(f"sed -i '/^LEFT4ME_SCRIPT_DISK/d' {ENVIRONMENT}; systemctl restart left4me-worker")
    assert (job["state"], job["error"]) == (
        "failed",
        "The script wrote more than 50 MB and was ended. Make it write less.",
    )
    assert builds(portal) == ""


def test_a_cancelled_script_and_that_of_a_killed_worker_end_at_once(anywhere: Installed) -> None:
    portal = anywhere
    job = make(portal, "Cancelled", "echo begun; sleep 4321")
    wait_for(lambda: "begun" in portal.lines(job["stream"]), seconds=30, what="its output")
    post(portal, f"/jobs/{job['id']}/cancel/", page=f"/jobs/{job['id']}/")
    assert portal.job(job["id"])["state"] == "cancelled"
    assert units(portal) == ""
    assert builds(portal) == ""

    job = make(portal, "Orphan", "echo begun; echo x > left-over; chmod 0 .; sleep 4321")
    wait_for(lambda: "begun" in portal.lines(job["stream"]), seconds=30, what="its output")
    portal.host.sh("systemctl kill -s KILL left4me-worker")
    wait_for(lambda: not portal.host.sh("pgrep -fx 'sleep 4321'", check=False).stdout, seconds=10, what="its end")
    assert portal.job(job["id"], seconds=90)["state"] == "lost"
    assert " failed " in units(portal)
    post(portal, "/layers/orphan/script/", page="/layers/orphan/", script="ls -A > files")
    last = portal.job(job_of(portal, "Orphan")["id"])
    assert last["state"] == "succeeded", last["error"]
    digest = portal.api("GET", "/layers/orphan")["digest"]
    assert portal.host.sh(f"cat {STATE}/layers/{digest}/files").stdout == "files\n", "its folder was empty"
    assert units(portal) == builds(portal) == ""
