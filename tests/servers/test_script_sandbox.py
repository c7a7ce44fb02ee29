"""What a layer's script can do in the local runtime: its own files and output, and nothing of the machine's."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from servers.runtime import scripts
from servers.runtime.base import RuntimeFailure
from servers.runtime.scripts import Script, built
from tests.stack import free_port

MB = 1 << 20


class Given:
    """`given(text)` runs a script; afterwards `files` is what it left and `lines` what it printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.files: set[str] = set()

    def __call__(self, text: str, *, network: bool = False, check: Callable[[], None] = lambda: None) -> "Given":
        self.lines.clear()
        with built(Script(name="7", text=text, network=network), on_line=self.lines.append, check=check) as made:
            self.files = {str(path.relative_to(made)) for path in made.rglob("*")}
        return self


@pytest.fixture
def given(tmp_path: Path, settings) -> Given:
    settings.STATE_DIR = tmp_path
    return Given()


def run_by(marker: str) -> list[str]:
    """Processes of the machine that were started with this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if marker.encode() in path.read_bytes() else []
    return found


def test_what_it_leaves_in_its_folder_is_there_and_what_it_prints_comes_line_by_line(given: Given, tmp_path: Path):
    given('echo hello; mkdir -p cfg "$LAYER/maps"; echo x > cfg/a; echo y > /tmp/not-this; echo oops >&2; printf end')
    assert given.files == {"cfg", "cfg/a", "maps"}
    assert given.lines == ["hello", "oops", "end"]
    assert os.listdir(tmp_path / "builds") == [], "nothing of it is left"


def test_shared_memory_of_a_script_is_its_own_and_ends_with_it(given: Given):
    key = secrets.randbits(30) | 1
    program = f"import ctypes; print(ctypes.CDLL(None).shmget({key}, 1 << 20, 0o1666) != -1)"
    try:
        given(f'/usr/bin/python3 -c "{program}"')
        assert given.lines == ["True"]
        assert str(key) not in Path("/proc/sysvipc/shm").read_text().split()
    finally:
        subprocess.run(["ipcrm", "--shmem-key", str(key)], check=False, capture_output=True)


def test_it_stops_at_the_first_command_that_fails(given: Given):
    with pytest.raises(RuntimeFailure, match="ended with code 3"):
        given("(exit 3) | cat; echo not reached")
    assert given.lines == []


def test_it_sees_the_systems_programs_and_nobody_elses_files(given: Given, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    ours = [tmp_path, Path(__file__).parent, Path.home(), Path("/etc/shadow")]
    given("\n".join(f"cat {path} {path}/* 2>&1 || true; ls {path} || true" for path in ours))
    text = "\n".join(given.lines)
    assert "secret" not in text.replace(f"{tmp_path}/secret", "")
    assert Path(__file__).name not in text
    assert not any(line.startswith("root:") for line in given.lines)
    given(
        "test -x /usr/bin/env; touch /usr/bin/evil 2>&1 || touch /etc/evil 2>&1 || touch /dev/shm/evil 2>&1 || echo no"
    )
    assert given.lines[-1] == "no"


def test_it_has_no_powers_and_gains_none(given: Given):
    given("grep -E '^(CapEff|CapPrm|NoNewPrivs):' /proc/self/status; id -u; mount -t tmpfs t /mnt 2>&1 || echo refused")
    assert [line.split()[-1] for line in given.lines[:3]] == ["0" * 16, "0" * 16, "1"]
    assert given.lines[3] != "0", "root becomes nobody"
    assert given.lines[-1] == "refused"


def test_it_reaches_a_network_only_when_it_may(given: Given):
    with socket.create_server(("127.0.0.1", free_port())) as listening:
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{listening.getsockname()[1]}; echo reached"
        with pytest.raises(RuntimeFailure, match="code 1"):
            given(connect)
        assert "unreachable" in "\n".join(given.lines)
        assert given(connect, network=True).lines == ["reached"]


def test_it_reaches_no_process_of_the_machine(given: Given):
    given(f"kill -9 {os.getpid()} 2>&1 || true; ls /proc | grep -c '^[0-9]*$'; kill -9 -1 || true; echo alive")
    assert given.lines[-1] == "alive"
    if given.lines[1].isdigit():
        assert int(given.lines[1]) < 10, "where /proc can be mounted it is its own"


def test_nothing_that_it_started_outlives_it(given: Given):
    given("setsid sleep 987654 & disown; echo x > a")
    assert not run_by("987654")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("for n in $(seq 60); do head -c 1M /dev/zero > $n; done; sleep 20", "wrote more than 20 MB"),
        ("for n in $(seq 60); do head -c 1M /dev/zero > /tmp/$n; done; sleep 20", "wrote more than 20 MB"),
        (
            "mkdir a; cd a; for n in $(seq 60); do head -c 1M /dev/zero > $n; done; chmod 0 .; sleep 20",
            "more than 20 MB",
        ),
        ("head -c 60M /dev/zero > one", "ended with code 153"),  # SIGXFSZ
        ("for n in $(seq 60); do mkdir -p $n/$n; done; sleep 20", "more than 100 files"),
        ("sleep 60", "did not finish within"),
        ("while :; do :; done", "did not finish within"),
    ],
    ids=["many files", "scratch", "closed folder", "one file", "count", "time", "processor"],
)
def test_what_it_takes_is_bounded(
    given: Given, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
):
    settings.SCRIPT_DISK, settings.SCRIPT_SECONDS = 20 * MB, 6
    monkeypatch.setattr(scripts, "MOST_FILES", 100)
    with pytest.raises(RuntimeFailure, match=sentence):
        given(text)
    assert os.listdir(tmp_path / "builds") == []


def test_it_leaves_room_on_the_disk(given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(scripts, "KEPT_FREE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(RuntimeFailure, match="of the disk were left"):
        given("sleep 60")


def test_a_fork_bomb_is_bounded_and_ends_with_it(given: Given, settings):
    settings.SCRIPT_SECONDS = 4
    with pytest.raises(RuntimeFailure):
        given("n=0; while sleep 876543 & do n=$((n + 1)); echo $n; done")
    assert "Resource temporarily unavailable" in "\n".join(given.lines)
    assert 100 < max(int(line) for line in given.lines if line.isdigit()) <= 256
    assert not run_by("876543")


def test_a_check_that_raises_ends_it(given: Given):
    class Asked(BaseException):
        """As `Cancelled` is."""

    def check() -> None:
        if given.lines:
            raise Asked

    with pytest.raises(Asked):
        given("echo began; trap '' TERM; sleep 765432", check=check)
    assert not run_by("765432")


def test_where_namespaces_are_forbidden_it_is_not_run(given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As with kernel.unprivileged_userns_clone=0 or in a container without them."""
    monkeypatch.setattr(scripts, "LAUNCHER", tmp_path / "launcher")
    (tmp_path / "launcher").write_text(
        "import ctypes, sys\n"
        "def refused(flags):\n    ctypes.set_errno(1)\n    return -1\n"
        "sys.modules['keeper.namespace']._libc.unshare = refused\n"
        "def main():\n    return 0\n"
    )
    with pytest.raises(RuntimeFailure, match="allow user namespaces"):
        given("echo x > a")
    assert given.files == set()
