"""What the portal's user and a hostile game try on a real host, each refused and logged."""

import json
import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.deploy.host import Host
from tests.deploy.installed import Installed
from tests.generated import cases, dice
from tests.stack import wait_for

pytestmark = pytest.mark.host
PLACE = "/var/lib/left4me"
OURS = re.compile(
    r"left4me-(overlay|server)@[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?\.service|left4me-build(-net)?@[0-9]{1,18}\.service"
)


def bus(host: Host, call: str, *arguments: str) -> str:
    """A call of systemd's manager as the user left4me: "" or the error's text."""
    done = host.run(
        "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager", call, "--", *arguments, user="left4me", check=False,
    )  # fmt: skip
    return done.stderr.strip() if done.returncode else ""


UNITS = [
    *("ssh.service", "postgresql.service", "left4me-web.service", "left4me-worker.service", "caddy.service"),
    *("systemd-journald.service", "left4me-games.slice", "left4me.target", "reboot.target", "-.mount", "dbus.service"),
    *("left4me-server@x.socket", "left4me-server@x.service.d", "left4me-overlay@.service"),
    *("left4me-build@x.service", "left4me-build@-1.service", "left4me-build-net@1.socket", "left4me-build@.service"),
]
# What systemd says of a request that polkit denied, or that never was one: no such name, nothing of that kind loaded.
REFUSALS = (
    *("Access denied", "Permission denied", "nteractive authentication required", "Operation not permitted"),
    *("not valid", "missing the instance name", "not loaded", "already loaded", "Invalid argument"),
)


def was_refused(text: str) -> bool:
    return any(refusal in text for refusal in REFUSALS)


@pytest.mark.parametrize("unit", UNITS)
def test_the_portal_may_not_touch_other_units(portal: Installed, unit: str) -> None:
    for call in ("StartUnit", "StopUnit", "RestartUnit"):
        said = bus(portal.host, call, "ss", unit, "fail")
        assert was_refused(said), f"{call} {unit}: {said!r}"


def test_a_refusal_is_written_to_the_journal(portal: Installed) -> None:
    bus(portal.host, "StopUnit", "ss", "cron.service", "fail")
    wait_for(
        lambda: "refused stop of cron.service" in portal.host.sh("journalctl -t left4me-polkit -o cat").stdout,
        what="the refusal in the journal",
    )


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("SetUnitProperties", ["sba(sv)", "left4me-server@x.service", "true", "1", "MemoryMax", "t", "1"]),
        ("SetUnitProperties", ["sba(sv)", "left4me-games.slice", "true", "0"]),
        ("SetUnitProperties", ["sba(sv)", "left4me-build@1.service", "true", "1", "CPUQuotaPerSecUSec", "t", "9"]),
        ("RestartUnit", ["ss", "left4me-build@1.service", "fail"]),
        ("KillUnit", ["ssi", "left4me-build@1.service", "all", "9"]),
        ("ReloadOrRestartUnit", ["ss", "left4me-server@x.service", "fail"]),
        ("TryRestartUnit", ["ss", "left4me-web.service", "fail"]),
        ("ReloadUnit", ["ss", "left4me-server@x.service", "fail"]),
        ("FreezeUnit", ["s", "left4me-server@x.service"]),
        ("KillUnit", ["ssi", "left4me-web.service", "all", "9"]),
        ("CleanUnit", ["sas", "left4me-server@x.service", "1", "all"]),
        ("BindMountUnit", ["sssbb", "left4me-server@x.service", "/etc", "/mnt", "false", "false"]),
        ("AttachProcessesToUnit", ["ssau", "left4me-server@x.service", "/", "1", "1"]),
        ("StartTransientUnit", ["ssa(sv)a(sa(sv))", "evil.service", "fail", "0", "0"]),
        ("StartTransientUnit", ["ssa(sv)a(sa(sv))", "left4me-server@evil.service", "fail", "0", "0"]),
        ("EnableUnitFiles", ["asbb", "1", "left4me-web.service", "true", "true"]),
        ("LinkUnitFiles", ["asbb", "1", "/tmp/evil.service", "true", "true"]),
        ("MaskUnitFiles", ["asbb", "1", "ssh.service", "true", "true"]),
        ("SetEnvironment", ["as", "1", "LD_PRELOAD=/tmp/x.so"]),
        ("Reload", []),
        ("Reexecute", []),
        ("Reboot", []),
    ],
)
def test_the_portal_may_not_use_other_verbs(portal: Installed, call: str, arguments: list[str]) -> None:
    said = bus(portal.host, call, *arguments)
    assert was_refused(said), said


HOSTILE_NAMES = cases(100, 300)


def hostile_names() -> list[str]:
    """Names of units that look like a game's but are none."""
    pick = dice("unit names")
    parts = ["..", "/", "\\", "\\x2f", "\\x2e\\x2e", " ", "\n", "\t", "@", ".", ",", ";", "$", "%", "*", "A", "Ä", "_",
             ":", "-", "--", "x" * 40, ".service", ".mount", "\u202e", "root", "'", '"', "|", "&"]  # fmt: skip
    names: list[str] = []
    while len(names) < HOSTILE_NAMES:
        middle = "".join(pick.choice([*parts, "a", "b1"]) for _ in range(pick.randint(1, 5)))
        prefix = pick.choice(["left4me-server@", "left4me-overlay@", "left4me-build@", "left4me-", "xleft4me-server@"])
        name = prefix + middle + pick.choice([".service", ".service", ".socket", ".service.service", ""])
        if name not in names and not OURS.fullmatch(name):
            names.append(name)
    return names


ASK = """
import json, subprocess, sys
for name in json.load(sys.stdin):
    done = subprocess.run(
        ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager", "StartUnit", "ss", "--", name, "fail"], capture_output=True, text=True)
    print(json.dumps([name, done.returncode, done.stderr.strip()]))
"""


@pytest.mark.soak
def test_none_of_hundreds_of_hostile_unit_names_is_started(portal: Installed) -> None:
    names = hostile_names()
    done = portal.host.run("python3", "-c", ASK, user="left4me", text=json.dumps(names), timeout=240)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == HOSTILE_NAMES
    for name, code, said in results:
        assert code, f"{name!r} was accepted"
        assert was_refused(said), f"{name!r}: {said}"


# Runs as a game, in its unit. Each line of its output: what it tried, and what came of it.
ATTACKER = textwrap.dedent(
    """
    #!/usr/bin/python3 -I
    import ctypes, os, signal, socket, subprocess, sys, threading, time
    libc = ctypes.CDLL(None, use_errno=True)
    def attempt(what, action):
        try:
            print(what, "DONE", repr(action())[:200], sep="|", flush=True)
        except BaseException as error:
            print(what, "refused", type(error).__name__, error, sep="|", flush=True)
    def check(code):
        if code < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return code
    def reach(path):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
    def bind(port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("0.0.0.0", port))
    def setuid():
        open("shell", "wb").write(open("/bin/sh", "rb").read())
        os.chmod("shell", 0o4755)
        assert os.stat("shell").st_mode & 0o4000, "no setuid bit"
    def foreign():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if b"victim-marker" in open(f"/proc/{pid}/cmdline", "rb").read():
                return pid
        raise LookupError("not to be seen")
    victim = int(open("victim-pid").read())
    attempt("environment", lambda: open("/etc/left4me/left4me.env").read())
    attempt("configuration", lambda: os.listdir("/etc/left4me"))
    attempt("neighbour", lambda: os.listdir("/var/lib/left4me/runtime/other"))
    attempt("neighbours", lambda: [n for n in os.listdir("/var/lib/left4me/runtime") if n != "attacker"][0])
    attempt("installations", lambda: os.listdir("/var/lib/left4me/installations"))
    attempt("source", lambda: os.listdir("/opt/left4me/current/portal"))
    attempt("journal", lambda: os.listdir("/var/log/journal"))
    attempt("runjournal", lambda: os.listdir("/run/log/journal"))
    attempt("bus", lambda: reach("/run/dbus/system_bus_socket"))
    attempt("systemd", lambda: reach("/run/systemd/private"))
    attempt("database", lambda: os.listdir("/run/postgresql"))
    attempt("web", lambda: reach("/run/left4me/web.sock"))
    attempt("processes", foreign)
    attempt("kill", lambda: os.kill(victim, signal.SIGKILL))
    attempt("killall", lambda: [os.kill(pid, 9) for pid in range(victim - 5, victim + 5)])
    attempt("ptrace", lambda: check(libc.ptrace(16, victim, 0, 0)))
    attempt("memory", lambda: open(f"/proc/{victim}/mem", "rb").read(1))
    attempt("mount", lambda: check(libc.mount(b"t", b"/tmp", b"tmpfs", 0, None)))
    attempt("namespace", lambda: check(libc.unshare(0x10000000)))
    attempt("setns", lambda: check(libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)))
    attempt("setuid", setuid)
    attempt("root", lambda: os.setuid(0))
    attempt("sudo", lambda: subprocess.run(["/usr/bin/su", "-c", "id"], check=True, stdin=subprocess.DEVNULL))
    attempt("device", lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)))
    attempt("kernel", lambda: open("/proc/sys/kernel/core_pattern", "w").write("|/bin/sh"))
    attempt("cgroup", lambda: open("/sys/fs/cgroup/cgroup.procs", "w").write("1"))
    attempt("system", lambda: open("/usr/bin/evil", "w"))
    attempt("etc", lambda: open("/etc/evil", "w"))
    attempt("order", lambda: open("/run/left4me/run.json", "w"))
    attempt("module", lambda: check(libc.syscall(175, 0, 0, b"")))
    attempt("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, 0))
    attempt("port", lambda: bind(27999))
    attempt("well-known", lambda: bind(1053))
    print("own|" + open("own").read().strip(), flush=True)
    def own():
        bind(27500)
        open("written", "w").write("x")
        os.listdir("/tmp"); open("/tmp/x", "w").write("x")
        return socket.getaddrinfo("localhost", 80)
    attempt("own port and files", own)
    if os.path.exists("bomb"):
        count = 0
        try:
            while count < 20000:
                if os.fork() == 0:
                    signal.pause()
                count += 1
        except OSError as error:
            print("bomb", "refused", count, error, sep="|", flush=True)
        else:
            print("bomb", "DONE", count, sep="|", flush=True)
    print("over", flush=True)
    time.sleep(1000)
    """
).lstrip()
VICTIM = "#!/bin/sh\n: victim-marker\nwhile :; do sleep 1; done\n"


class Games:
    """Servers made by hand, as the worker makes them, on an installed host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def make(self, name: str, program: str, **files: str) -> None:
        home = f"{PLACE}/runtime/{name}"
        tree = f"{PLACE}/installations/attack-{name}/1"
        self.host.sh(f"mkdir -p {tree} {home}/config {home}/upper {home}/work {home}/merged {home}/tmp")
        self.host.write(f"{tree}/game", program, 0o755)
        for file, content in files.items():
            self.host.write(f"{tree}/{file.replace('_', '-')}", content)
        order = {"installation": f"attack-{name}/1", "layers": [], "memory_max": 1 << 30, "tasks_max": 200}
        self.host.write(f"{home}/unit.json", json.dumps(order | {"ports": [27500]}))
        run = {"argv": ["./game"], "environment": {"PATH": "/usr/bin:/bin"}, "workdir": ".", "stop_signal": 15}
        self.host.write(f"{home}/run.json", json.dumps(run | {"stop_after": 2, "kill_after": 2}))
        self.host.sh(f"chown -R left4me:left4me-game {home} {tree}; chmod -R g+rwX {home} {tree}; chmod o-rwx {home}")
        self.host.run("systemctl", "start", f"left4me-server@{name}")

    def output(self, name: str) -> list[str]:
        return self.host.journal(f"left4me-server@{name}", "--namespace=left4me", lines=500).splitlines()

    def remove(self, name: str) -> None:
        self.host.sh(f"systemctl stop left4me-server@{name} left4me-overlay@{name}; systemctl reset-failed")
        self.host.sh(f"rm -rf {PLACE}/runtime/{name} {PLACE}/installations/attack-{name}")


@pytest.fixture(params=["portal", "portal12"], ids=["debian13", "debian12"])
def games(request: pytest.FixtureRequest) -> Iterator[Games]:
    """Another server that is attacked, and the one that attacks comes with the test."""
    games = Games(request.getfixturevalue(request.param).host)
    games.make("other", VICTIM)
    yield games
    for name in ("attacker", "other"):
        games.remove(name)


def binds_are_filtered(host: Host) -> bool:
    bind = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(('', 27998))"
    probe = ["systemd-run", "-q", "--wait", "-p", "SocketBindDeny=any", "python3", "-c", bind]
    return host.run(*probe, check=False).returncode != 0


def test_a_hostile_game_reaches_nothing_outside_itself(games: Games) -> None:
    victim = games.host.show("left4me-server@other", "MainPID")["MainPID"]
    games.host.sh("journalctl --namespace=left4me --rotate; journalctl --namespace=left4me --vacuum-time=1s")
    games.make("attacker", ATTACKER, own="mine", victim_pid=victim, bomb="")
    lines = wait_for(lambda: (found := games.output("attacker")) and "over" in found and found, seconds=60)
    tried = {line.split("|")[0]: line for line in lines if "|" in line}
    assert len(tried) >= 35
    done = {what for what, line in tried.items() if line.split("|")[1] == "DONE"}
    if not binds_are_filtered(games.host):  # SocketBindDeny= needs BPF programs on cgroups
        done -= {"port", "well-known"}
    assert done == {"own port and files"}, [tried[what] for what in done]
    assert tried["own"] == "own|mine"
    # TasksMax= where units have the pids controller, else LimitNPROC=.
    most = 200 if "pids" in games.host.controllers else 1024
    assert most / 2 < int(tried["bomb"].split("|")[2]) <= most, tried["bomb"]
    assert games.host.show("left4me-server@other", "MainPID", "ActiveState") == {
        "MainPID": victim,
        "ActiveState": "active",
    }
