"""Programs: what they are given, how much of them is kept, and who dies with whom."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobs import process
from tests.stack import wait_for


def test_a_program_gets_no_secret_of_ours_and_its_output_is_returned(monkeypatch) -> None:
    monkeypatch.setenv("LEFT4ME_SECRET_KEY", "s3cret")
    done = process.run(["env"], timeout=10, env={"GAME": "chess"})
    assert done.code == 0
    assert "GAME=chess" in done.output
    assert "s3cret" not in done.output


def test_output_that_nobody_takes_line_by_line_is_kept_only_up_to_a_bound() -> None:
    done = process.run(["sh", "-c", "yes 123456789 | head -c 20000000"], timeout=60)
    assert process.MAX_OUTPUT - 100 < len(done.output) <= process.MAX_OUTPUT


def test_what_a_program_leaves_behind_in_its_group_is_killed() -> None:
    began = time.monotonic()
    done = process.run(["sh", "-c", "sleep 64 & echo $!"], timeout=30)
    assert time.monotonic() - began < 10
    wait_for(lambda: not psutil.pid_exists(int(done.output)), what="the leftover gone")


def test_a_program_that_ignores_sigterm_is_killed_after_a_grace(monkeypatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    with pytest.raises(process.ProcessError, match="did not finish within 1 seconds"):
        process.run(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], timeout=1)


def test_a_detached_program_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    """Even its group and by SIGKILL, and a death signal of the parent does not reach it."""
    said = tmp_path / "said"
    script = (
        "from jobs.process import spawn_detached; import time\n"
        f"spawn_detached(['sh', '-c', 'echo $$; exec sleep 65'], output={str(said)!r})\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as starter:
        number = int(wait_for(lambda: said.exists() and said.read_text(), what="the program's first line"))
        assert psutil.Process(number).ppid() != starter.pid
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    time.sleep(0.2)
    survivor = psutil.Process(number)
    assert survivor.status() != psutil.STATUS_ZOMBIE
    survivor.kill()


def test_a_program_that_is_not_there_is_told_before_anything_starts() -> None:
    for start in (lambda: process.run(["no-such"], timeout=1), lambda: process.spawn_detached(["no-such"])):
        with pytest.raises(process.ProcessError, match="no-such is not on this machine"):
            start()
