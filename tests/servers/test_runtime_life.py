"""Starting, stopping, crashing and being found again: real keepers, real games, real kills."""

import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from servers.runtime import files, get_runtime, local
from servers.runtime.base import Restart, RuntimeFailure
from servers.runtime.local import LocalRuntime
from tests.servers.host import GAME, Host, is_alive, keeper_of, kill_keeper
from tests.stack import wait_for

IGNORES_SIGNALS = "trap '' INT TERM HUP\n"
QUICK = Restart(backoff=(0.05, 0.1), limit=3, window=60)


def test_a_started_game_runs_in_a_group_of_its_own_and_is_nobodys_child(host: Host) -> None:
    host.runtime.start(host.spec())
    state = host.state()
    assert (state.unit, state.restarts, state.exit_code) == ("running", 0, None)
    assert state.pid and os.getpgid(state.pid) == state.pid != os.getpgid(0)
    assert state.since and abs(datetime.now(UTC) - state.since) < timedelta(seconds=60)
    keeper = keeper_of(host)
    assert os.getsid(keeper) == keeper
    assert f"PPid:\t{os.getpid()}\n" not in Path(f"/proc/{keeper}/status").read_text()


def test_running_is_seen_before_start_returns(host: Host, monkeypatch) -> None:
    monkeypatch.setattr(local, "SETTLE_SECONDS", 2)
    spec = host.spec()
    child = os.fork()
    if child == 0:
        host.runtime.start(spec)
        os._exit(0)
    host.wait_unit("running")
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.waitpid(child, 0)


def test_starting_a_running_server_does_nothing(host: Host) -> None:
    host.runtime.start(host.spec())
    pid = host.state().pid
    host.runtime.start(host.spec())
    assert host.state().pid == pid
    assert host.lines() == ["ready"]


def test_a_stop_asks_with_the_games_signal_and_is_harmless_when_repeated(host: Host) -> None:
    host.runtime.stop("one")
    host.runtime.start(host.spec())
    host.runtime.stop("one")
    host.runtime.stop("one")
    assert host.state().unit == "stopped"
    assert host.state().exit_code == 0
    assert host.lines() == ["ready", "[left4me] Stopping.", "bye"]


def test_a_game_that_ignores_signals_is_killed_after_the_stated_delays_and_its_children_too(host: Host) -> None:
    script = f'#!/bin/sh\n{IGNORES_SIGNALS}(setsid sh -c "{IGNORES_SIGNALS}sleep 1000" &)\necho ready\n'
    host.runtime.start(host.spec(script + "while :; do sleep 1000; done\n", stop_after=0.5, kill_after=0.5))
    host.wait_line("ready")
    processes = _below(keeper_of(host))
    assert len(processes) >= 3
    began = time.monotonic()
    host.runtime.stop("one")
    assert 1 <= time.monotonic() - began < 30
    assert not [pid for pid in processes if is_alive(pid)]
    assert host.state().exit_signal == signal.SIGKILL
    assert host.lines()[1:] == [
        "[left4me] Stopping.",
        "[left4me] It did not stop in time: SIGTERM.",
        "[left4me] It did not end in time: SIGKILL.",
    ]


def test_what_the_game_started_may_end_in_its_own_time(host: Host) -> None:
    script = "#!/bin/sh\nsh -c 'trap \"sleep 0.5; echo saved; exit\" TERM; while :; do sleep 0.05; done' &\n" + GAME
    host.runtime.start(host.spec(script, stop_signal=signal.SIGTERM, stop_after=20))
    host.wait_line("ready")
    host.runtime.stop("one")
    assert host.lines()[-1] == "saved"


def test_a_timeout_cuts_a_stop_short(host: Host) -> None:
    host.runtime.start(host.spec(f"#!/bin/sh\n{IGNORES_SIGNALS}while :; do sleep 1; done", stop_after=300))
    game = host.state().pid
    host.runtime.stop("one", timeout=0.2)
    assert game and not is_alive(game)
    assert host.state().unit == "stopped"


def test_a_game_that_ends_at_once_fails_the_start_and_only_its_console_has_its_lines(host: Host, monkeypatch) -> None:
    monkeypatch.setattr(local, "SETTLE_SECONDS", 2)
    script = "#!/bin/sh\necho loading; echo cannot open map >&2; exit 3\n"
    with pytest.raises(RuntimeFailure, match=r"^The game ended with exit code 3\. It had run for [0-9.]+ s\.$"):
        host.runtime.start(host.spec(script))
    lines, _ = host.runtime.read_console("one", "")
    assert {"loading", "cannot open map"} <= set(lines)
    state = host.state()
    assert (state.unit, state.exit_code, state.pid) == ("crashed", 3, None)
    host.runtime.start(host.spec())
    assert host.wait_unit("running").restarts == 0


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("./absent",), "./absent or what it needs to run was not found. Install the game again"),
        (("no-such-program-anywhere",), "no-such-program-anywhere or what it needs"),
        (("./data",), "./data may not be executed"),
        (("./game.sh", "\0"), "The game ended with exit code 127"),
    ],
)
def test_a_program_that_cannot_be_executed_fails_the_start_with_a_sentence(host: Host, argv, sentence: str) -> None:
    installation = host.layer("installation", game_sh=GAME, data="")
    (installation / "data").chmod(0o444)
    with pytest.raises(RuntimeFailure, match=sentence):
        host.runtime.start(host.spec(layers=(installation,), argv=argv))
    host.runtime.stop("one")
    assert host.state().unit == "stopped"


def test_a_missing_layer_or_folder_fails_the_start_with_a_sentence(host: Host) -> None:
    with pytest.raises(RuntimeFailure, match="are gone"):
        host.runtime.start(host.spec(layers=(host.root / "absent",)))
    with pytest.raises(RuntimeFailure, match="no/such or what it needs"):
        host.runtime.start(host.spec(workdir="no/such"))


def test_a_disk_without_room_fails_the_start_with_a_sentence(host: Host, monkeypatch) -> None:
    monkeypatch.setattr(files, "START_NEEDS_BYTES", 1 << 60)
    with pytest.raises(RuntimeFailure, match=r"The disk is full: \d+ MB are left and \d+ MB are needed. Delete"):
        host.runtime.start(host.spec())
    assert not host.folder().exists()


def test_a_crash_is_restarted_with_a_backoff_until_the_limit(host: Host) -> None:
    host.runtime.start(host.spec("#!/bin/sh\necho up; sleep 0.4; kill -SEGV $$\n", restart=QUICK))
    host.wait_unit("restarting")
    state = host.wait_unit("crashed")
    assert (state.restarts, state.exit_signal, state.pid) == (3, signal.SIGSEGV, None)
    assert state.detail == "The game was ended by SIGSEGV. It was restarted 3 times within 1 min and stays down."
    assert host.lines().count("up") == 4
    assert "[left4me] The game was ended by SIGSEGV. Restart 1 of 3 in 0.05 s." in host.lines()
    assert "[left4me] The game was ended by SIGSEGV. Restart 3 of 3 in 0.1 s." in host.lines()
    host.runtime.stop("one")
    assert host.state().unit == "stopped"


def test_a_game_that_ends_by_itself_later_counts_as_a_crash_and_leaves_nothing_behind(host: Host) -> None:
    script = "#!/bin/sh\n(setsid sleep 1000 &)\nsleep 0.6; exit 0\n"
    host.runtime.start(host.spec(script, restart=Restart(backoff=(60,), limit=3)))
    processes = _below(keeper_of(host))
    state = host.wait_unit("restarting")
    assert state.detail == "The game ended by itself. Restart 1 of 3 in 60 s."
    assert not [pid for pid in processes if is_alive(pid)]
    host.runtime.stop("one")
    assert host.state().unit == "stopped"


@pytest.mark.parametrize("mount", ["overlay", "copy"])
def test_a_killed_keeper_takes_the_game_along_and_the_next_start_works(host: Host, settings, mount: str) -> None:
    settings.LOCAL_MOUNT = mount
    host.runtime = LocalRuntime()
    host.runtime.start(host.spec())
    game = host.state().pid
    assert game
    kill_keeper(host)
    wait_for(lambda: not is_alive(game), what="the game's end")
    state = host.wait_unit("crashed")
    assert state.detail == "The process that watched over the game was killed, and the game with it."
    assert state.pid is None
    host.runtime.start(host.spec())
    assert host.state().unit == "running"
    assert host.state().pid != game


def test_nothing_the_game_started_outlives_a_killed_keeper(host: Host) -> None:
    host.runtime.start(host.spec(f'#!/bin/sh\n(setsid sh -c "{IGNORES_SIGNALS}sleep 1000" &)\n' + GAME))
    host.wait_line("ready")
    processes = _below(keeper_of(host))
    assert len(processes) >= 3
    kill_keeper(host)
    wait_for(lambda: not [pid for pid in processes if is_alive(pid)], what="the end of all")


def test_the_game_outlives_its_starter_and_is_found_by_a_new_process(host: Host) -> None:
    host.spec()
    argv = [sys.executable, "-c", _ELSEWHERE, str(host.root), "start"]
    subprocess.run(argv, check=True, timeout=60, env=os.environ | {"LEFT4ME_STATE": str(host.runtime._root.parent)})
    assert host.state().unit == "running"
    host.runtime.stop("one")
    assert host.state().unit == "stopped"


def test_shared_memory_of_a_game_is_its_own_and_ends_with_it(host: Host) -> None:
    """System V's stays when its last process has gone (shmget(2)), in memory that counts for nobody."""
    python = os.path.realpath(sys.executable)  # in a checkout below /tmp it is out of a game's sight
    key = secrets.randbits(30) | 1
    make = f"import ctypes; print('made', ctypes.CDLL(None).shmget({key}, 1 << 20, 0o1666) != -1)"
    find = f"import ctypes; print('found', ctypes.CDLL(None).shmget({key}, 0, 0) != -1)"
    try:
        for name, program in (("one", make), ("two", find)):
            host.runtime.start(host.spec(f'#!/bin/sh\n{python} -c "{program}"\n{GAME}', name=name))
        host.wait_line("made True")
        host.wait_line("found False", "two")
        host.runtime.stop("one")
        assert str(key) not in Path("/proc/sysvipc/shm").read_text().split()
    finally:
        subprocess.run(["ipcrm", "--shmem-key", str(key)], check=False, capture_output=True)


@pytest.mark.parametrize("kind", ["user", "ipc"])
def test_where_namespaces_are_forbidden_it_says_so_and_copies(host: Host, kind: str) -> None:
    host.spec()
    forbidden = f'echo 0 > /proc/sys/user/max_{kind}_namespaces && exec "$@"'
    argv = ["unshare", "--user", "--map-root-user", "sh", "-c", forbidden, "sh"]
    argv += [sys.executable, "-c", _ELSEWHERE, str(host.root), "start"]
    subprocess.run(argv, check=True, timeout=60, env=os.environ | {"LEFT4ME_STATE": str(host.runtime._root.parent)})
    assert host.state().unit == "running"
    assert host.lines()[0] == (
        "[left4me] This machine does not let us mount a server's layers: No space left on device (unshare)."
    )
    assert host.lines()[1].startswith("[left4me] Its files are linked and copied")


def test_two_starts_at_once_from_two_processes_start_one_game(host: Host) -> None:
    environment = os.environ | {"LEFT4ME_STATE": str(host.runtime._root.parent)}
    host.spec()
    starters = [
        subprocess.Popen([sys.executable, "-c", _ELSEWHERE, str(host.root), "start"], env=environment) for _ in range(4)
    ]
    assert [starter.wait(60) for starter in starters] == [0] * 4
    assert host.lines().count("ready") == 1


def test_a_state_of_an_earlier_boot_or_of_another_process_is_not_believed(host: Host) -> None:
    host.runtime.start(host.spec())
    path = host.folder() / "state.json"
    text = path.read_text()
    path.write_text(text.replace('"ticks": ', '"ticks": 1'))
    assert host.state().unit == "crashed"
    path.write_text(text.replace('"boot": "', '"boot": "0'))
    assert (host.state().unit, host.state().detail) == ("stopped", "The machine was restarted while the server ran.")
    path.write_text(text)
    assert host.state().unit == "running"


def test_ten_starts_and_stops_leak_no_descriptor_and_no_process(host: Host) -> None:
    host.runtime.start(host.spec())
    host.runtime.stop("one")
    before = os.listdir("/proc/self/fd")
    for _ in range(10):
        host.runtime.start(host.spec())
        keeper = keeper_of(host)
        assert {int(name) for name in os.listdir(f"/proc/{host.state().pid}/fd")} <= {0, 1, 2, 10}
        host.runtime.stop("one")
        assert not is_alive(keeper)
    assert os.listdir("/proc/self/fd") == before


def test_a_removed_server_comes_back_whole_and_an_old_one_is_purged(host: Host) -> None:
    spec = host.spec("#!/bin/sh\nmkdir closed; echo x > closed/file; chmod 0 closed\n" + GAME)
    host.runtime.start(spec)
    with pytest.raises(RuntimeFailure, match="still runs"):
        host.runtime.remove("one", "7")
    host.runtime.stop("one")
    for _ in range(2):
        host.runtime.remove("one", "7")
    assert not host.folder().exists()
    assert host.state().unit == "stopped"
    host.runtime.prepare(spec)
    with pytest.raises(RuntimeFailure, match="Another server uses the name"):
        host.runtime.restore("one", "7")
    host.runtime.remove("one", "8")
    host.runtime.restore("one", "7")
    assert (host.folder() / "upper" / "closed").is_dir()
    host.runtime.remove("one", "7")
    assert host.runtime.purge(timedelta(days=1)) == 0
    assert host.runtime.purge(timedelta(seconds=-1)) == 2
    assert not list((host.runtime._root / ".trash").iterdir())


@pytest.mark.parametrize("name", ["../one", "", ".", "..", ".trash", "a/b"])
def test_a_name_that_is_none_is_refused(host: Host, name: str) -> None:
    with pytest.raises(ValueError, match="not a server's name"):
        host.runtime.start(replace(host.spec(), name=name))
    with pytest.raises(ValueError, match="a token is"):
        host.runtime.remove("one", f"../{name}")


def test_the_configured_runtime_is_made_once() -> None:
    assert get_runtime() is get_runtime()
    assert isinstance(get_runtime(), LocalRuntime)


_ELSEWHERE = f"""
import os, sys, pathlib
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.servers.host import Host
host = Host(pathlib.Path(sys.argv[1]))
getattr(host.runtime, sys.argv[2])(host.spec())
"""


def _below(pid: int) -> list[int]:
    """Every process the given one has below it, by its number on the machine."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in _below(child))]
