"""How `make bench` runs its benchmarks, and all of them in miniature."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import benchmarks
from tests.bench.figure import Figure
from tests.deploy.conftest import require_host
from tests.stack import BASE

OURS = "tests.jobs.benchmarks"
FEED = [name for name in benchmarks() if name.startswith("feed")]
OTHERS = [name for name in benchmarks() if name not in (*FEED, "host")]


def run(*arguments: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "tests.bench", *arguments]
    return subprocess.run(argv, cwd=BASE, capture_output=True, text=True, timeout=seconds, check=False)


def test_a_figure_is_a_line_that_says_whether_it_keeps_its_bound() -> None:
    assert str(Figure("a b", 1.23456, "ms", 2)) == "a_b 1.235 ms <=2 ok"
    assert str(Figure("a", 3, "ms", 2)) == "a 3 ms <=2 short"
    assert str(Figure("a", 1, "times", 2, at_least=True)) == "a 1 times >=2 short"
    assert str(Figure("a", 3, "ms")) == "a 3 ms - ok"


def test_what_was_not_measured_is_never_ok_and_fails_where_it_has_a_bound() -> None:
    came, failed, lacked = Figure("a", 1, "ms", 2), Figure("a", math.nan, "ms", 2), Figure.not_measured("a", "no b")
    assert str(failed) == "a nan ms <=2 not measured"
    assert str(Figure("a", math.nan, "ms")) == "a nan ms - not measured"
    assert str(lacked) == "a nan - - not measured (no b)"
    assert (came.failed, failed.failed, lacked.failed) == (False, True, False)
    assert not any(figure.short for figure in (came, failed, lacked))


def test_every_benchmark_runs_whatever_becomes_of_the_others() -> None:
    done = run("--package", OURS, *(name for name in benchmarks(OURS) if name != "hanging"))
    assert done.stdout.splitlines() == [
        "crashing.before 1 s <=2 ok",
        "crashing nan - - not measured (crashed with exit code 1)",
        "failing.never_came nan ms <=100 not measured",
        "failing.without_bound nan ms - not measured",
        "fine.jobs_of_others 0 jobs <=0 ok",
        "fine.at_least 2 times >=2 ok",
        "lacking.proxy nan - - not measured (no proxy is installed)",
        "missing.slow 12.35 ms <=10 short",
        "missing.few 1 times >=2 short",
        "unloadable nan - - not measured (crashed with exit code 1)",
    ]
    assert "RuntimeError: this benchmark crashes" in done.stderr
    assert done.stderr.splitlines()[-4:] == [
        "crashing: crashed with exit code 1",
        "failing: misses a bound",
        "missing: misses a bound",
        "unloadable: crashed with exit code 1",
    ]
    assert done.returncode == 1


def test_what_a_machine_lacks_does_not_fail_the_run() -> None:
    done = run("--package", OURS, "fine", "lacking")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_benchmark_that_hangs_is_ended_with_all_it_started() -> None:
    done = run("--package", OURS, "--seconds", "30", "hanging")
    left, told = done.stdout.splitlines()
    assert told == "hanging nan - - not measured (took more than 30 s)"
    assert not Path("/proc", str(int(float(left.split()[1])))).exists()
    assert done.returncode == 1


def test_a_module_without_figures_is_no_benchmark() -> None:
    assert benchmarks(OURS) == ["crashing", "failing", "fine", "hanging", "lacking", "missing", "unloadable"]
    done = run("--package", OURS, "settings")
    assert done.returncode == 2
    assert "There is no benchmark settings." in done.stderr


@pytest.mark.parametrize("names", [FEED, OTHERS], ids=["feed", "others"])
def test_the_whole_bench_runs_in_miniature(names: list[str]) -> None:
    all_measured(names)


@pytest.mark.host
def test_the_benchmark_of_the_host_runs_in_miniature() -> None:
    require_host()
    all_measured(["host"])


def all_measured(names: list[str]) -> None:
    done = run("--mini", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(" ", 4) for line in done.stdout.splitlines()]
    measured = [line[0] for line in lines if line[4] in ("ok", "short")]
    lacking = [line for line in lines if line[4].startswith("not measured (")]
    assert len(measured) + len(lacking) == len(lines), done.stdout
    assert len(measured) > 3 * (len(names) - len(lacking)), done.stdout
