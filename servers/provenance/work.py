"""What jobs do about a server's own files: look at them, and undo what is to be undone once nothing is mounted."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice

from jobs.run import Run
from servers import services
from servers.errors import ServerError
from servers.models import FileChange, Server
from servers.provenance.below import fingerprint, sources
from servers.provenance.listing import list_files
from servers.provenance.looking import look
from servers.runtime import get_runtime
from servers.runtime.base import EVERYTHING, RuntimeFailure, Undo
from servers.runtime.deleting import delete_tree
from servers.runtime.measuring import Measure

QUICK = 3.0  # seconds for each part of what others wait behind
BATCH = 500  # reverts between two checks
MOST_TOLD = 20
log = logging.getLogger(__name__)


class _OutOfTime(Exception):
    pass


def _within(run: Run, seconds: float | None) -> Callable[[], None]:
    """A check that raises `_OutOfTime` once the seconds are over, or `Cancelled`."""
    limit = time.monotonic() + (math.inf if seconds is None else seconds)

    def check() -> None:
        run.check()
        if time.monotonic() > limit:
            raise _OutOfTime

    return check


def take_look(run: Run, server: Server, *, seconds: float | None = None) -> str:
    """Store how the server's own files differ from what is below them; returns it in a sentence."""
    runtime = get_runtime()
    state = runtime.states([server.name])[server.name].unit
    below = sources(server, mounted=state not in ("stopped", "crashed"))
    for source in below:
        if source.installation:
            with suppress(_OutOfTime):  # so what is long is listed by a look that somebody asks for
                list_files(source.installation, check=_within(run, seconds))
    found = look(run, server, runtime.upper(server.name), below, seconds)
    late = "What it changes now is seen once it has stopped." if runtime.writes_elsewhere(server.name) else ""
    remark = f"{late} {found.remark}".strip()
    services.record_look(server=server, over=fingerprint(below), remark=remark, changes=found.changes)
    counts = Counter(change.kind for change in found.changes)
    kinds = [f"{counts[kind]} {kind.label}" for kind in FileChange.Kind if counts[kind]]
    return f"Its own files: {', '.join(kinds) or 'none'}. {remark}".strip()


def undo_waiting(run: Run, server: Server, *, seconds: float | None = None) -> None:
    """Undo what waits for the server to be stopped; what cannot be undone goes on waiting.

    `seconds`: for the deletion of what is gone from its place; the next time goes on with it.
    """
    runtime, problems = get_runtime(), set[str]()
    waiting = iter([Undo(one.path, one.is_whole) for one in server.file_reverts.all()])
    while batch := list(islice(waiting, BATCH)):
        run.check()
        answers = runtime.undo(server.name, batch)
        if answers is None:
            run.log("It runs, so its files are reverted at its next start.")
            return
        done = [path for path, problem in answers.items() if not problem]
        if done:
            services.finish_reverts(server=server, paths=done)
            what = "all" if EVERYTHING in done else len(done)
            run.log(f"Reverted {what} of its files to the layers below.")
        problems |= {problem for problem in answers.values() if problem}
    for problem in sorted(problems)[:MOST_TOLD]:
        run.log(f"A file could not be reverted: {problem}")
    _delete_undone(run, server, seconds)


def _delete_undone(run: Run, server: Server, seconds: float | None) -> None:
    try:
        delete_tree(get_runtime().undone(server.name), check=_within(run, seconds))
    except _OutOfTime:
        run.log("What was reverted is too much to be deleted now. The next start or stop goes on with it.")
    except OSError as error:
        run.log(f"Some of what was reverted could not be deleted ({error.strerror}), so it still counts. Ask an admin.")


def measure(run: Run, server: Server, *, seconds: float = math.inf) -> Measure:
    """Store what its own files take; returns what was counted in that time.

    Where that was too short, no less than what was known before: files must not count less for being many.
    """
    limit = time.monotonic() + seconds
    with closing(get_runtime().measure(server.name)) as counted:
        while not counted.step():
            run.check()
            if time.monotonic() > limit:
                counted.is_cut, counted.size = True, max(counted.size, server.disk_bytes)
                break
    services.record_disk(server=server, size=counted.size, is_cut=counted.is_cut)
    return counted


def look_after(run: Run, server: Server) -> None:
    """What follows a stop. It does not fail the stop, which is done, and does not take long: others wait for a worker.
    Whoever wants all of it asks for a look, which is a job of its own.
    """
    try:
        undo_waiting(run, server, seconds=QUICK)
        measure(run, server, seconds=QUICK)
        take_look(run, server, seconds=QUICK)
    except (OSError, RuntimeFailure, ServerError) as error:
        run.log(f"Its files could not be looked at: {error}")
    except Exception:
        log.exception("The look at the files of %s failed", server)
        run.log("Its files could not be looked at, by a mistake of the portal.")
