"""`make bench`: print `name value unit bound ok|short|not measured`, a line a figure; exit with 1 when one is short.

`python -m tests.bench [--mini] [NAME…]` runs the modules of that name. Each has a process and an empty, migrated
database of its own, so that none depends on another; one that crashes or hangs is told, and the others still run.
`--mini` runs all of it in miniature, to see that it works: its figures are printed but not held to their bounds.
"""

import argparse
import ctypes
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg

from portal.postgres import Postgres, running
from tests.bench.figure import Figure
from tests.bench.one import MISSED, environment
from tests.bench.scale import VARIABLE

MISSES = "misses a bound"
PR_SET_CHILD_SUBREAPER = 36


def benchmarks(package: str = "tests.bench") -> list[str]:
    """The modules of a package that have `figures`, and those that do not load, which is told when they run."""
    found = []
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        try:
            loaded = importlib.import_module(f"{package}.{module.name}") if module.name != "__main__" else None
        except Exception:
            found.append(module.name)
        else:
            found += [module.name] * hasattr(loaded, "figures")
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--mini", action="store_true", help="run in miniature, without judging the figures")
    parser.add_argument("--package", default="tests.bench", help="where the benchmarks are")
    parser.add_argument("--seconds", type=float, default=900, help="that one may take")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args(arguments)
    os.environ[VARIABLE] = str(int(given.mini))
    known = benchmarks(given.package)
    if unknown := set(given.names) - set(known):
        parser.error(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(known)}.")
    names = given.names or known
    problems = _run_all([f"{given.package}.{name}" for name in names], given.seconds)
    for name, problem in problems.items():
        print(f"{name}: {problem}", file=sys.stderr)
    return int(bool(problems))


def _run_all(modules: list[str], seconds: float) -> dict[str, str]:
    """Run them one after another, each for `seconds` at most; what was wrong with which."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a module leaves running becomes ours, to end
    problems = {}
    with tempfile.TemporaryDirectory(prefix="left4me-bench-") as folder:
        os.chmod(folder, 0o755)  # PostgreSQL's user must reach its own folder
        with running(Path(folder, "postgres"), durable=True) as postgres:
            for command in ("migrate", "createcachetable"):
                argv = [sys.executable, "manage.py", command, "-v", "0"]
                subprocess.run(argv, env=environment(folder, postgres.url), check=True)
            for module in modules:
                name = module.rpartition(".")[2]
                if problem := _run(module, _database(postgres, f"bench_{name}"), seconds):
                    problems[name] = problem
                    if problem != MISSES:  # which its figures say
                        print(Figure.not_measured(name, problem), flush=True)
    return problems


def _database(postgres: Postgres, name: str) -> str:
    """A copy of the migrated database; its address. That of the module before is dropped."""
    address = postgres.url.replace("/left4me?", "/{}?")
    with psycopg.connect(address.format("postgres"), autocommit=True) as db:
        for (old,) in db.execute(r"SELECT datname FROM pg_database WHERE datname LIKE 'bench\_%'").fetchall():
            db.execute(f'DROP DATABASE "{old}" WITH (FORCE)')
        db.execute(f'CREATE DATABASE "{name}" TEMPLATE left4me')
        db.execute("CHECKPOINT")
    return address.format(name)


def _run(module: str, database: str, seconds: float) -> str:
    """Run one module in a process of its own; what is wrong with it, if anything."""
    argv = [sys.executable, "-m", "tests.bench.one", module]
    process, limit = subprocess.Popen(argv, env=os.environ | {"DATABASE_URL": database}), time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < limit:
            _reap(process.pid)
            time.sleep(0.1)
        code = process.returncode
    finally:
        _end(process)
    if code in (0, MISSED):
        return MISSES if code else ""
    return f"took more than {seconds:g} s" if code is None else f"crashed with exit code {code}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a module, in order if it still can, and whatever it left running."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    while left := _orphans():
        for orphan in left:
            orphan.kill()
        psutil.wait_procs(left)


def _reap(module: int) -> None:
    """Take note of orphans that ended: somebody may wait for them to be gone."""
    for orphan in _orphans():
        if orphan.pid != module and orphan.status() == psutil.STATUS_ZOMBIE:
            orphan.wait()


def _orphans() -> list[psutil.Process]:
    """Our children but PostgreSQL: the module, and what became ours when its parent ended."""
    return [child for child in psutil.Process().children() if child.name() != "postgres"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
