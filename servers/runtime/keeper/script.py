"""A layer's script in namespaces of its own, for the local runtime: sets them up, then runs deploy/libexec/build there.

Started by the worker, with which it dies, as `python -I -S …/servers/runtime/keeper script FOLDER`. FOLDER has `layer`
and `tmp`, the `script` and `order.json` (servers/runtime/scripts.py). Ends with code `NO_SANDBOX` where namespaces are
not to be had: the script is not run without.
"""

import json
import os
import resource
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import namespace

NO_SANDBOX = 230  # deploy/libexec/build has the other codes
NOBODY = 65534  # whom root becomes
PROCESSES, NICE = 256, 10


def main() -> None:
    folder = sys.argv[2]
    order = json.loads(Path(folder, "order.json").read_text())
    # All of it now: the modules that it imports are out of sight later.
    launch = runpy.run_path(order["launcher"], run_name="launcher")["main"]
    is_root = os.geteuid() == 0
    try:
        flags = namespace.CLONE_NEWIPC | (0 if order["network"] else namespace.CLONE_NEWNET)
        namespace.enter(more=flags, also=NOBODY if is_root else None)
        first = os.fork()
        if first == 0:
            os._exit(_run(folder, order, launch, as_nobody=is_root))
        # Asked to end, this waits for the end of all the others, which that of the first process is.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        _, status = os.waitpid(first, 0)
        code = os.waitstatus_to_exitcode(status)
    except OSError as error:
        code = _refused(error)
    os._exit(code if code >= 0 else 128 - code)


def _run(folder: str, order: dict[str, Any], launch: Callable[[], int], *, as_nobody: bool) -> int:
    """As the init of the process namespace: nothing of the script outlives it."""
    try:
        namespace.show_system(folder, order["hide"], network=order["network"])
        if as_nobody:
            _become_nobody()
        namespace.prctl(namespace.PR_SET_PDEATHSIG, signal.SIGKILL)
        namespace.drop_privileges()
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.nice(NICE)
    except OSError as error:
        return _refused(error)
    return launch()


def _become_nobody() -> None:
    for path in (namespace.LAYER, "/tmp"):  # noqa: S108 (its own)
        os.chown(path, NOBODY, NOBODY)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _refused(error: OSError) -> int:
    os.write(1, f"{error.strerror} ({error.filename})\n".encode())
    return NO_SANDBOX
