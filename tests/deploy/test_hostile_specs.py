"""The mount helper, which is root, against its caller, who may be hostile: many specs, links swapped under its eyes."""

import json
from collections.abc import Iterator

import pytest

from tests.deploy.host import Host
from tests.deploy.installed import Installed
from tests.generated import cases, dice

pytestmark = pytest.mark.host
HELPER = "/usr/bin/python3 -I -S /opt/left4me/current/deploy/libexec/overlay"
PLACE = "/var/lib/left4me"
NAME = "victim"
LIMITS = {"memory_max": 1 << 30, "cpu_percent": 150, "tasks_max": 100, "ports": [27015]}
GOOD = {"installation": "good/1", "layers": ["one"]} | LIMITS

# Runs in the host, as root: puts each spec in place as left4me would and calls the helper, as the unit does.
TRY_SPECS = """
import json, os, pwd, subprocess, sys
place, helper = sys.argv[1], sys.argv[2].split()
user = pwd.getpwnam("left4me")
for spec in json.load(sys.stdin):
    path = place + "/unit.json"
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w") as file:
        file.write(spec)
    os.chown(path, user.pw_uid, user.pw_gid)
    done = subprocess.run([*helper, sys.argv[3], "victim"], capture_output=True, text=True)
    mounted = "/victim/merged " in open("/proc/self/mountinfo").read()
    print(json.dumps([spec[:200], done.returncode, done.stderr, mounted]))
    if mounted:
        subprocess.run([*helper, "down", "victim"], check=True)
"""


@pytest.fixture(scope="module")
def victim(portal: Installed) -> Iterator[Host]:
    """A host with one well-formed server that nobody runs, and things worth reaching for."""
    host = portal.host
    host.sh(f"""
        cd {PLACE}
        mkdir -p installations/good/1 layers/one runtime/{NAME}/config runtime/{NAME}/upper
        mkdir -p runtime/{NAME}/work runtime/{NAME}/merged runtime/{NAME}/tmp
        ln -sfn /etc installations/good/link; ln -sfn /etc/left4me layers/link; ln -sfn / installations/linked
        mkdir -p installations/good/roots; mkdir -p layers/roots; mknod -m 666 layers/device b 7 0 || true
        touch layers/file
        chown -R left4me:left4me-game installations/good layers runtime/{NAME}
        chown root: installations/good/roots layers/roots
    """)
    yield host
    host.sh(f"{HELPER} down {NAME}; rm -rf {PLACE}/runtime/{NAME} {PLACE}/layers/* {PLACE}/installations/good*")


def hostile_specs() -> list[str]:
    """Different specs of which none may be mounted."""
    pick = dice("specs")
    pieces = ["..", ".", "", "/", "//", "good", "1", "/etc", "etc", "link", "linked", "roots", "device", "file", ",",
              ":", "\n", "\0", "\\", " ", "lowerdir=/", "upperdir=/etc", "one:/etc", "one,upperdir=/", "x" * 101, "ä",
              "x" * 5000, "\u202e", "%i", "$(id)", "`id`", "-o", "proc/self/root", ".hidden", "one/..", "*", "\ud800",
    ]  # fmt: skip
    bad = [piece for piece in pieces if piece not in ("1", "good")]
    specs: list[str] = []
    while len(specs) < cases(60, 150):
        spec = dict(GOOD)
        if pick.random() < 0.5:
            spec["installation"] = "/".join(pick.choice(bad) for _ in range(pick.randint(1, 4)))
        else:
            spec["layers"] = ["one"] * pick.randint(0, 2) + [pick.choice(bad) + pick.choice(["", *pieces])]
        if (text := json.dumps(spec)) not in specs:
            specs.append(text)
    wrong = [None, 1, 1.5, True, [], {}, "", [[]], [None], [1], {"a": 1}, ["one"], [["one"]]]
    specs += [json.dumps(GOOD | {key: value}) for key in ("installation",) for value in wrong]
    specs += [json.dumps(GOOD | {"layers": value}) for value in wrong if value not in ([], ["one"])]
    specs += [json.dumps(GOOD | {"layers": ["one"] * number}) for number in (240, 499, 600, 5000)]
    specs += [
        "",
        "{",
        "null",
        "[]",
        '"',
        "[" * 100_000,
        "{}",
        " " * 70_000,
        json.dumps(GOOD)[:-1],
        "\x00",
        "NaN",
        "1e999",
    ]
    specs += [
        json.dumps({key: value for key, value in GOOD.items() if key != missing})
        for missing in ("installation", "layers")
    ]
    specs += [json.dumps(GOOD | {"installation": f"good/{name}"}) for name in ("link", "roots", "absent", "..", "1/")]
    for _ in range(cases(3, 8)):
        text = json.dumps(GOOD)
        at = pick.randrange(2, text.index("memory_max"))  # the limits have a test of their own
        text = text[:at] + pick.choice(["\\u0000", "\x01", "'", "}", "]]"]) + text[at + 1 :]
        specs += [text] if text not in specs else []
    return list(dict.fromkeys(specs))


@pytest.mark.soak
def test_none_of_many_hostile_specs_is_mounted(victim: Host) -> None:
    specs = hostile_specs()
    assert len(set(specs)) >= cases(100, 200)
    arguments = [f"{PLACE}/runtime/{NAME}", HELPER, "up"]
    done = victim.run("python3", "-c", TRY_SPECS, *arguments, text=json.dumps([*specs, json.dumps(GOOD)]), timeout=180)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(specs) + 1
    for spec, code, said, mounted in results[:-1]:
        assert (code, mounted) == (1, False), (spec, said)
        assert said.strip(), "a refusal says why"
        assert "Traceback" not in said, (spec, said)
    assert results[-1][1:] == [0, "", True], "the well-formed one is mounted"


def hostile_limits() -> list[str]:
    """Specs whose files may be mounted, but whose limits systemd may not be told."""
    wrong = [-1, 0, 1.5, 1e999, 1 << 80, True, [], {}, "", "100", "infinity", "50%", "1\nExecStart=/bin/sh", "%i"]
    specs = [GOOD | {key: value} for key in ("memory_max", "cpu_percent", "tasks_max") for value in wrong]
    specs += [GOOD | {"ports": value} for value in [*wrong, None, [22], [True], ["any"], [27015, "1-65535"], [[27015]]]]
    specs += [GOOD | {key: None} for key in ("memory_max", "tasks_max")]
    return [json.dumps(spec) for spec in specs if spec["ports"] != []]


def test_no_hostile_limit_reaches_systemd(victim: Host) -> None:
    unit, names = f"left4me-server@{NAME}.service", ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "SocketBindAllow")
    arguments, before = [f"{PLACE}/runtime/{NAME}", HELPER, "limits"], victim.show(unit, *names)
    done = victim.run("python3", "-c", TRY_SPECS, *arguments, text=json.dumps(hostile_limits()), timeout=120)
    for spec, code, said, _ in map(json.loads, done.stdout.splitlines()):
        assert code == 1, (spec, said)
        assert "Traceback" not in said, (spec, said)
        assert said.strip(), "a refusal says why"
    assert victim.show(unit, *names) == before


# As left4me: swap a folder for a link into /etc and back, as fast as possible, until told to stop.
SWAP = f"""
import os, sys, time
a, b = "{PLACE}/layers/one", "{PLACE}/layers/spare"
os.symlink("/etc", b)
import ctypes
libc = ctypes.CDLL(None)
end = time.time() + 15
while time.time() < end and not os.path.exists("/tmp/enough"):
    libc.renameat2(-100, a.encode(), -100, b.encode(), 2)  # RENAME_EXCHANGE
"""
RACE = f"""
import os, subprocess
helper = "{HELPER}".split()
outcomes = set()
for _ in range(60):
    done = subprocess.run([*helper, "up", "{NAME}"], capture_output=True, text=True)
    if done.returncode == 0:
        outcomes.add("escaped" if os.path.exists("{PLACE}/runtime/{NAME}/merged/passwd") else "mounted")
        subprocess.run([*helper, "down", "{NAME}"], check=True)
    else:
        outcomes.add("refused" if "link" in done.stderr else done.stderr)
print(sorted(outcomes))
"""


def test_links_swapped_while_the_helper_runs_lead_nowhere(victim: Host) -> None:
    victim.write(f"{PLACE}/runtime/{NAME}/unit.json", json.dumps(GOOD))
    victim.sh(f"chown left4me: {PLACE}/runtime/{NAME}/unit.json; rm -f /tmp/enough {PLACE}/layers/spare")
    victim.run("systemd-run", "-q", "--unit=swapper", "--uid=left4me", "python3", "-c", SWAP)
    try:
        outcomes = victim.run("python3", "-c", RACE, timeout=120).stdout.strip()
    finally:
        victim.sh(
            f"touch /tmp/enough; systemctl stop swapper; cd {PLACE}/layers; rm -rf one spare;"
            "mkdir one; chown left4me: one",
            check=False,
        )
    assert "escaped" not in outcomes
    assert outcomes in ("['mounted', 'refused']", "['refused']", "['mounted']"), outcomes


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder", "somebody else's", "missing"])
def test_a_spec_file_that_is_not_a_plain_own_file_is_refused(victim: Host, kind: str) -> None:
    path = f"{PLACE}/runtime/{NAME}/unit.json"
    text, other = json.dumps(GOOD), f"{PLACE}/other"
    make = {
        "link": f"ln -s /etc/shadow {path}",
        "hard link": f"echo '{text}' > {other} && chown left4me: {other} && ln {other} {path}",
        "fifo": f"mkfifo {path} && chown left4me: {path}",
        "folder": f"mkdir {path} && chown left4me: {path}",
        "somebody else's": f"echo '{text}' > {path}",
        "missing": "true",
    }[kind]
    victim.sh(f"rm -rf {path} {PLACE}/other; {make}")
    done = victim.sh(f"timeout 10 {HELPER} up {NAME}", check=False)
    victim.sh(f"rm -rf {path} {PLACE}/other")
    assert done.returncode == 1
    assert "unit.json" in done.stderr
    assert f"/{NAME}/merged " not in victim.sh("cat /proc/self/mountinfo").stdout


def test_a_busy_target_is_left_alone_and_a_mount_that_is_not_ours_stays(victim: Host) -> None:
    victim.write(f"{PLACE}/runtime/{NAME}/unit.json", json.dumps(GOOD))
    victim.sh(f"chown left4me: {PLACE}/runtime/{NAME}/unit.json; mount -t tmpfs mine {PLACE}/runtime/{NAME}/merged")
    try:
        up = victim.sh(f"{HELPER} up {NAME}", check=False)
        down = victim.sh(f"{HELPER} down {NAME}", check=False)
        still = victim.sh(f"findmnt -no SOURCE {PLACE}/runtime/{NAME}/merged").stdout.strip()
    finally:
        victim.sh(f"umount {PLACE}/runtime/{NAME}/merged")
    assert (up.returncode, down.returncode, still) == (1, 1, "mine")
    assert "busy" in up.stderr
    assert "not ours" in down.stderr


def test_a_mount_is_nosuid_and_nodev_and_its_end_also_reaches_a_process_that_stands_in_it(victim: Host) -> None:
    victim.write(f"{PLACE}/runtime/{NAME}/unit.json", json.dumps(GOOD))
    victim.sh(f"chown left4me: {PLACE}/runtime/{NAME}/unit.json; {HELPER} up {NAME}")
    options = victim.sh(f"findmnt -no OPTIONS {PLACE}/runtime/{NAME}/merged").stdout
    assert "nosuid" in options
    assert "nodev" in options
    victim.sh(f"systemd-run -q --unit=hanger -p WorkingDirectory={PLACE}/runtime/{NAME}/merged sleep 60")
    try:
        assert victim.sh(f"{HELPER} down {NAME}", check=False).returncode == 0
        assert f"/{NAME}/merged " not in victim.sh("cat /proc/self/mountinfo").stdout
    finally:
        victim.run("systemctl", "stop", "hanger")


def test_what_a_game_deleted_is_left4mes_to_read_and_undo_and_nothing_of_roots_stays(victim: Host) -> None:
    victim.write(f"{PLACE}/runtime/{NAME}/unit.json", json.dumps(GOOD))
    victim.sh(f"""
        cd {PLACE}; mkdir -p installations/good/1/folder; touch installations/good/1/file installations/good/1/folder/in
        chown -R left4me:left4me-game installations/good/1; chmod -R g+rwX installations/good/1
        chmod g+rwx runtime/{NAME}/upper
        chown left4me: runtime/{NAME}/unit.json; {HELPER} up {NAME}
        cd runtime/{NAME}/merged
        runuser -u left4me-game -- sh -c 'umask 007; rm file; rm -r folder; mkdir folder; touch folder/own'
        cd /; {HELPER} down {NAME}
    """)
    upper = f"{PLACE}/runtime/{NAME}/upper"
    look = f"import os; print(os.stat('{upper}/file').st_rdev, os.listxattr('{upper}/folder'))"
    assert victim.sh(f'runuser -u left4me -- python3 -c "{look}"').stdout.strip() == "0 ['user.overlay.opaque']"
    victim.sh(f"runuser -u left4me -- rm -r {PLACE}/runtime/{NAME}/work {upper}/file {upper}/folder")
    victim.sh(f"runuser -u left4me -- mkdir {PLACE}/runtime/{NAME}/work")


@pytest.mark.parametrize("name", ["..", ".", "", "../victim", "a/b", "Victim", "a" * 33, "-a", "a\n", "victim\n", "ä"])
def test_a_name_that_is_none_is_refused(victim: Host, name: str) -> None:
    done = victim.run(*HELPER.split(), "up", name, check=False)
    assert done.returncode == 2
    assert "usage" in done.stderr
