"""deploy/libexec/launch between a game and the journal: every byte, in order, whoever stops, floods or goes away."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack import BASE, wait_for

# As the unit starts it, but for where it finds the order and the pipe.
LAUNCH = """
import runpy, sys
launcher = runpy.run_path(sys.argv[1], run_name="launcher")["run"]
launcher.__globals__.update(SPEC=sys.argv[2], WAKE=sys.argv[3])
sys.exit(launcher())
"""
LAUNCHER = BASE / "deploy" / "libexec" / "launch"
READY = "import signal, sys, time\n"


class Launched:
    """A launcher with its game; the test is systemd and the journal."""

    def __init__(self, folder: Path, program: str, **spec: object) -> None:
        self.wake = folder / "wake"
        order = {"argv": [sys.executable, "-I", "-S", "-u", "-c", program], "environment": {"PATH": os.environ["PATH"]},
                 "workdir": ".", "stop_signal": int(signal.SIGINT), "stop_after": 5, "kill_after": 1}  # fmt: skip
        (folder / "run.json").write_text(json.dumps(order | spec))
        self.journal, ours = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAUNCH, LAUNCHER,
             folder / "run.json", self.wake],
            stdin=subprocess.DEVNULL, stdout=ours, start_new_session=True,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
        )  # fmt: skip
        os.close(ours)

    def read(self, until: bytes = b"", seconds: float = 20) -> bytes:
        """What the journal got, up to `until`, or to the launcher's end."""
        data, limit = b"", time.monotonic() + seconds
        while not (until and until in data):
            assert select.select([self.journal], [], [], max(0, limit - time.monotonic()))[0], data[-1000:]
            if not (piece := os.read(self.journal, 1 << 16)):
                break
            data += piece
        return data

    def end(self) -> int:
        return self.process.wait(20)


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    made: list[Launched] = []

    def launch(program: str, **spec: object) -> Launched:
        made.append(Launched(tmp_path, READY + program, **spec))
        return made[-1]

    yield launch
    for one in made:
        one.process.kill()
        one.process.wait()
        os.close(one.journal)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[int]:
    """The agent's end of the pipe."""
    os.mkfifo(tmp_path / "wake")
    descriptor = os.open(tmp_path / "wake", os.O_RDWR | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def is_poked(pipe: int, seconds: float = 10) -> bool:
    ready = bool(select.select([pipe], [], [], seconds)[0])
    if ready:
        os.read(pipe, 1 << 16)
    return ready


def test_all_output_comes_through_in_order_and_the_exit_code_is_the_games(launched) -> None:
    game = launched("for n in range(20_000): print('line', n)\nsys.stdout.write('end without newline'); sys.exit(7)")
    expected = "".join(f"line {n}\n" for n in range(20_000)) + "end without newline"
    assert game.read() == expected.encode()
    assert game.end() == 7


def test_errors_and_output_keep_their_order(launched) -> None:
    game = launched("for n in range(500): print('out', n); print('err', n, file=sys.stderr)")
    assert game.read().decode().splitlines() == [f"{kind} {n}" for n in range(500) for kind in ("out", "err")]


def test_a_line_is_followed_by_a_wake_up_and_a_part_of_one_is_not(launched, pipe: int) -> None:
    game = launched("sys.stdout.write('half'); sys.stdout.flush()\ntime.sleep(0.3)\nprint()\ntime.sleep(100)")
    assert game.read(until=b"half") == b"half", "a part of a line comes at once"
    assert not is_poked(pipe, 0.1)
    assert game.read(until=b"\n") == b"\n"
    assert is_poked(pipe)


def test_a_line_that_is_begun_and_not_ended_is_ended_after_a_while_and_its_end_adds_none(
    launched, pipe: int, tmp_path: Path
) -> None:
    game = launched(f"""
import os
def say(text, before):
    while not os.path.exists(f"{tmp_path}/{{before}}"): time.sleep(0.01)
    sys.stdout.write(text); sys.stdout.flush()
say("one\\nLoading", "wake")
say("\\n50%", "second")
say(" done\\n\\nend", "third")
""")
    assert game.read(until=b"Loading\n") == b"one\nLoading\n"
    assert is_poked(pipe)
    (tmp_path / "second").touch()
    assert game.read(until=b"50%\n") == b"50%\n"
    (tmp_path / "third").touch()
    assert game.read() == b" done\n\nend"


def test_the_game_says_goodbye_while_it_is_stopped(launched, pipe: int) -> None:
    bye = "def bye(*_):\n  for n in range(5000): print('bye', n)\n  sys.exit(3)\n"
    game = launched(bye + "signal.signal(signal.SIGINT, bye)\nprint('up')\nwhile True: time.sleep(100)")
    game.read(until=b"up\n")
    game.process.terminate()
    assert game.read().decode().splitlines() == [f"bye {n}" for n in range(5000)]
    assert game.end() == 0, "what was asked for is no crash"


def test_a_game_that_does_not_stop_gets_ever_harder_signals_and_each_is_told_on_a_line_of_its_own(launched) -> None:
    stubborn = "for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n"
    program = stubborn + "sys.stdout.write('up'); sys.stdout.flush()\ntime.sleep(100)"
    game = launched(program, stop_after=0.1, kill_after=0.1)
    game.read(until=b"up")
    game.process.terminate()
    assert game.read().decode().splitlines() == [
        "",
        "[left4me] The game did not end within 0.1 s of SIGINT.",
        "[left4me] The game did not end within 0.1 s of SIGTERM.",
    ]
    assert game.end() == 0


def test_a_stop_asked_for_before_the_game_runs_is_kept(launched) -> None:
    game = launched("print('up')\ntime.sleep(100)", stop_after=0.2)
    game.process.terminate()
    game.read()
    assert game.end() == 0


def test_a_journal_that_takes_nothing_holds_the_game_but_not_its_stop(launched) -> None:
    game = launched("n = 0\nwhile True:\n  print('line', n); n += 1", stop_signal=int(signal.SIGTERM), stop_after=1)
    wait_for(lambda: is_full(game.journal), what="the journal being full")
    game.process.terminate()
    assert game.end() == 0
    lines = game.read().decode().splitlines()
    assert lines[:-1] == [f"line {n}" for n in range(len(lines) - 1)], "nothing was skipped"


def is_full(reading_end: int) -> bool:
    writing_end = os.open(f"/proc/self/fd/{reading_end}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        return not select.select([], [writing_end], [], 0)[1]
    finally:
        os.close(writing_end)


def test_what_the_game_leaves_behind_may_hold_the_pipe_and_print_for_ever(launched) -> None:
    child = "import os\nif os.fork() == 0:\n  while True: print('x' * 100)\n"
    game = launched(child + "time.sleep(0.2)\nprint('the games last line'); sys.exit(5)")
    data = game.read(until=b"the games last line")
    with contextlib.suppress(AssertionError):
        data += game.read(seconds=0.5)
    assert b"the games last line" in data
    assert game.end() == 5


def test_a_game_that_closes_its_output_runs_on(launched) -> None:
    game = launched("import os\nprint('up', flush=True); os.close(1); os.close(2)\ntime.sleep(0.3)\nos._exit(4)")
    assert game.read() == b"up\n"
    assert game.end() == 4


def test_a_program_that_cannot_be_run_is_told(launched) -> None:
    game = launched("", argv=["./nothing"])
    assert game.read() == b"[left4me] ./nothing cannot be run: No such file or directory.\n"
    assert game.end() == 127


def test_nobody_reads_the_wake_ups_and_all_lines_come(launched, pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 4096)
    game = launched("for n in range(5000): print('line', n)")
    assert game.read().decode().splitlines() == [f"line {n}" for n in range(5000)]
    assert game.end() == 0


def test_the_agent_goes_and_comes_back(launched, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wake")
    game = launched("while True: print('line'); time.sleep(0.01)")
    for _ in range(3):
        agent = os.open(tmp_path / "wake", os.O_RDWR | os.O_NONBLOCK)
        assert is_poked(agent)
        os.close(agent)
        game.read(until=b"line\nline\nline\n")
    assert game.process.poll() is None


@pytest.mark.parametrize("what", ["nothing", "a file", "a link", "a folder"])
def test_something_else_where_the_pipe_should_be_is_left_alone(what: str, launched, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    wake = tmp_path / "wake"
    {
        "nothing": lambda: None,
        "a file": lambda: wake.write_text("untouched"),
        "a link": lambda: wake.symlink_to(target),
        "a folder": wake.mkdir,
    }[what]()
    game = launched("for n in range(10): print('line', n)")
    assert game.read().decode().splitlines() == [f"line {n}" for n in range(10)]
    assert game.end() == 0
    assert target.read_text() == "untouched"
    assert not wake.is_file() or wake.read_text() == "untouched"
