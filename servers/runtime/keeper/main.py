"""Setting the keeper up: namespaces, mounts and folders first, then `Supervisor` until the end.

The first process only makes the namespaces and forks; the second is the keeper: an orphan in a session of its own and,
in overlay mode, the init of a process namespace, so that nothing of the game can outlive it.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from . import namespace
from .console import Console
from .state import StateFile
from .supervisor import Supervisor


def main() -> None:
    """`sys.argv`: descriptors of the held lock, of the reply pipe and of the order, which is JSON."""
    lock, reply_pipe, paper = (int(value) for value in sys.argv[1:4])
    for descriptor in (lock, reply_pipe):
        os.set_inheritable(descriptor, False)
    with os.fdopen(paper) as file:
        order = json.load(file)
    reply = _replier(reply_pipe)
    overlay = order["mode"] == "overlay"
    try:
        # Opened outside the namespace, where they stay writable.
        folder = os.open(order["folder"], os.O_RDONLY | os.O_DIRECTORY)
        console_folder = os.open("console", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        if overlay:
            namespace.enter(more=namespace.CLONE_NEWIPC)  # shared memory would outlive the game, and others reach it
        if os.fork():
            os._exit(0)
        _keep(order, reply, folder, console_folder)
    except OSError as error:
        reply({"ok": False, "refused": overlay, "error": f"{error.strerror} ({error.filename})"})
    except Exception as error:  # nobody else would hear of it
        reply({"ok": False, "error": str(error)})
    os._exit(0)


def _replier(pipe: int) -> Callable[[dict[str, Any]], None]:
    """A function that sends the first reply it is given and no other."""
    file = os.fdopen(pipe, "w")

    def reply(message: dict[str, Any]) -> None:
        if not file.closed:
            try:
                json.dump(message, file)
                file.close()
            except OSError:
                pass  # the starter is gone; the state file says the same

    return reply


def _keep(order: dict[str, Any], reply: Callable[[dict[str, Any]], None], folder: int, console_folder: int) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    tree = os.path.join(order["folder"], "merged")
    if order["mode"] == "overlay":
        upper, work = (os.path.join(order["folder"], name) for name in ("upper", "work"))
        namespace.mount_layers(order["layers"], upper=upper, work=work, merged=tree)
        namespace.confine(order["hide"], tree=tree)
    namespace.prctl(namespace.PR_SET_CHILD_SUBREAPER, 1)
    namespace.drop_privileges()
    console = Console(console_folder)
    state = StateFile(folder, stop_seconds=order["stop_after"] + order["kill_after"], restarts=0)
    for remark in order["remarks"]:
        console.remark(remark)
    Supervisor(order, tree=tree, console=console, state=state, reply=reply).run()
