"""The real host: what a mount costs and how fast its units start, on a Debian 13 booted in systemd-nspawn.

The portal is not needed for this: the units are put in place as the installer does, and servers made by hand. It is
installed for consoles alone, at the end, on a machine of its own. Every ratio is the bare directory's time over the
mount's, the two measured in turns, the best of each.
"""

import os
import statistics
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.host_console import console_figures
from tests.bench.scale import scaled
from tests.deploy.host import Host, why_not

PLACE = "/var/lib/left4me"
LAYERS = 5
MANY, FOLDERS, PACK_MIB, APPENDS = scaled((50, 200, 400, 20_000), (2, 5, 4, 200))
SETUP = """
set -e
apt-get install -y -qq --no-install-recommends fuse3 fuse-overlayfs polkitd dbus acl >/dev/null
echo user_allow_other >> /etc/fuse.conf
mkdir -p /opt/left4me && ln -sfn /mnt/checkout /opt/left4me/current
D=/mnt/checkout/deploy
install -D -m 644 $D/etc/sysusers.conf /etc/sysusers.d/left4me.conf && systemd-sysusers
install -D -m 644 $D/etc/tmpfiles.conf /etc/tmpfiles.d/left4me.conf && systemd-tmpfiles --create left4me.conf
cp "$D/etc/journald@left4me.conf" /etc/systemd/ && cp $D/units/*.service $D/units/*.slice /etc/systemd/system/
install -D $D/units/left4me-server-257.conf /etc/systemd/system/left4me-server@.service.d/left4me-server-257.conf
systemctl daemon-reload
"""
# Makes `count` servers over one installation of folders with 100 small files each and a pack, with four more layers.
MAKE = """
import json, os, sys
place, (count, layers, folders, mib) = sys.argv[1], map(int, sys.argv[2:])
game = f"{place}/installations/bench/1"
for number in range(folders):
    os.makedirs(f"{game}/files/{number}", exist_ok=True)
    for file in range(100):
        with open(f"{game}/files/{number}/{file}", "wb") as small:
            small.write(b"x" * 1500)
with open(f"{game}/pack", "wb") as pack:
    for _ in range(mib):
        pack.write(os.urandom(1 << 20))
with open(f"{game}/game", "w") as program:
    program.write("#!/bin/sh\\ntrap 'exit 0' INT TERM\\nwhile :; do sleep 1000 & wait $!; done\\n")
os.chmod(f"{game}/game", 0o775)
names = [f"layer{number}" for number in range(layers - 1)]
for name in names:
    os.makedirs(f"{place}/layers/{name}", exist_ok=True)
for number in range(count):
    home = f"{place}/runtime/bench{number}"
    for folder in ("config", "upper", "work", "merged", "tmp"):
        os.makedirs(f"{home}/{folder}", exist_ok=True)
    with open(f"{home}/unit.json", "w") as file:
        limits = {"memory_max": 1 << 30, "tasks_max": 100, "ports": [27015]}
        json.dump({"installation": "bench/1", "layers": names} | limits, file)
    with open(f"{home}/run.json", "w") as file:
        json.dump({"argv": ["./game"], "environment": {"PATH": "/usr/bin:/bin"}, "workdir": ".", "stop_signal": 2,
                   "stop_after": 5, "kill_after": 5}, file)
os.system(f"chown -R left4me:left4me-game {place}; chmod -R g+rwX {place}")
"""
# Times one thing in several trees, in turns and by the same code; prints the best seconds of each.
MEASURE = """
import os, sys, time
what, rounds, folders, appends, *trees = sys.argv[1:]
def read(tree):
    for folder in range(int(folders)):
        for file in range(100):
            with open(f"{tree}/files/{folder}/{file}", "rb", buffering=0) as small:
                small.read()
def sequential(tree):
    descriptor = os.open(f"{tree}/pack", os.O_RDONLY)
    while os.read(descriptor, 1 << 20):
        pass
    os.close(descriptor)
def append(tree):
    for _ in range(int(appends)):
        with open(f"{tree}/bench.log", "ab", buffering=0) as log:
            log.write(b"a line of a game's log, eighty characters long, as they are written all day\\n")
    os.unlink(f"{tree}/bench.log")
best = dict.fromkeys(trees, 1e9)
for number in range(int(rounds)):
    for tree in trees if number % 2 else trees[::-1]:
        began = time.perf_counter()
        {"read": read, "sequential": sequential, "append": append}[what](tree)
        best[tree] = min(best[tree], time.perf_counter() - began)
print(*best.values())
"""
START = """
import subprocess, sys, time
times = []
for number in range(int(sys.argv[1])):
    began = time.perf_counter()
    subprocess.run(["systemctl", "start", f"left4me-server@bench{number}"], check=True)
    times.append(time.perf_counter() - began)
print(*times)
"""
TOGETHER = """
import subprocess, sys, time
began = time.perf_counter()
subprocess.run(["systemctl", "start", *sys.argv[1].split()], check=True)
print(time.perf_counter() - began)
"""
ROUNDS = scaled((7, 10), (1, 1))  # with nothing in memory, and with all of it there
FEW_ROUNDS = scaled((3, 1), (1, 1))
SEQUENTIAL = scaled(4, 1)  # times as many: each is short, and bound tightly
SMALL_FILES_FIRST, SMALL_FILES = 0.8, 0.65


def figures() -> Iterator[Figure]:
    """Figures of the kernel driver with their bounds, those of the fuse driver beside them."""
    if reason := why_not():
        yield Figure.not_measured("host", reason)
        return
    with Host("trixie") as host:
        host.sh(SETUP, timeout=300)
        sizes = map(str, (MANY, LAYERS, FOLDERS, PACK_MIB))
        host.run("/usr/bin/python3", "-c", MAKE, PLACE, *sizes, timeout=300)
        yield from _starts(host)
        yield from _driver(host, "kernel", *ROUNDS, bounded=True)
        host.sh(
            "D=/etc/systemd/system/left4me-overlay@.service.d; mkdir -p $D &&"
            " cp /mnt/checkout/deploy/units/left4me-overlay-fuse.conf $D/ && systemctl daemon-reload"
        )
        yield from _driver(host, "fuse", *FEW_ROUNDS, bounded=False)
    yield from console_figures()


def _starts(host: Host) -> Iterator[Figure]:
    host.run("systemctl", "start", "left4me-server@bench0")  # the first one also starts the games' journal
    host.sh("systemctl stop left4me-server@bench0; sleep 1")
    times = [float(t) * 1000 for t in host.run("/usr/bin/python3", "-c", START, str(MANY), timeout=300).stdout.split()]
    yield Figure("host.start_5_layers.p50", statistics.median(times), "ms", 250)
    yield Figure("host.start_50_in_a_row", sum(times) / 1000, "s")
    units = " ".join(f"left4me-server@bench{number}" for number in range(MANY))
    host.sh(f"systemctl stop {units}", timeout=300)
    host.sh("while grep -q runtime/bench /proc/self/mountinfo; do sleep 0.2; done")
    together = host.run("/usr/bin/python3", "-c", TOGETHER, units, timeout=300)
    yield Figure("host.start_50_at_once", float(together.stdout), "s")
    host.sh(f"systemctl stop {units}", timeout=300)
    host.sh("while grep -q runtime/bench /proc/self/mountinfo; do sleep 0.2; done")


def _driver(host: Host, driver: str, cold: int, warm: int, *, bounded: bool) -> Iterator[Figure]:
    host.run("systemctl", "start", "left4me-server@bench0")
    bare, merged = trees = f"{PLACE}/installations/bench/1", f"{PLACE}/runtime/bench0/merged"
    # As a game starts: nothing is in memory yet. The median, since a disk is no clock.
    ratios = []
    for _ in range(cold):
        seconds = {}
        for tree in trees:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3")
            seconds[tree] = _measure(host, "read", 1, tree)[0]
        ratios.append(seconds[bare] / seconds[merged])
    yield _ratio(f"{driver}.read_first", statistics.median(ratios), SMALL_FILES_FIRST if bounded else None)
    # All in memory: the price of an open alone, of which overlayfs takes its share (docs/performance.md).
    for what, bound in (("read", SMALL_FILES), ("sequential", 0.95), ("append", 0.4)):
        rounds = warm * SEQUENTIAL if what == "sequential" else warm
        of_bare, of_merged = _measure(host, what, rounds, *trees)
        yield _ratio(f"{driver}.{what}", of_bare / of_merged, bound if bounded else None)
    host.sh("systemctl stop left4me-server@bench0; sleep 1")


def _ratio(name: str, value: float, bound: float | None) -> Figure:
    return Figure(f"host.{name}.ratio", value, "x", bound, at_least=True)


def _measure(host: Host, what: str, rounds: int, *trees: str) -> list[float]:
    """Best seconds of each tree."""
    done = host.run("/usr/bin/python3", "-c", MEASURE, what, *map(str, (rounds, FOLDERS, APPENDS)), *trees, timeout=900)
    return [float(seconds) for seconds in done.stdout.split()]
