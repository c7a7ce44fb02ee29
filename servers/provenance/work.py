"""What jobs do about a server's own files: look at them, and undo what is to be undone once nothing is mounted."""

import logging
import math
import time
from collections import Counter
from contextlib import closing

from jobs.run import Run
from servers import services
from servers.errors import ServerError
from servers.models import FileChange, Server
from servers.provenance.below import fingerprint, sources
from servers.provenance.listing import list_files
from servers.provenance.looking import look
from servers.runtime import get_runtime
from servers.runtime.base import RuntimeFailure, Undo
from servers.runtime.measuring import Measure

AFTER_STOP = 3.0  # seconds for each part
log = logging.getLogger(__name__)


def take_look(run: Run, server: Server, *, seconds: float | None = None) -> str:
    """Store how the server's own files differ from what is below them; returns it in a sentence."""
    runtime = get_runtime()
    state = runtime.states([server.name])[server.name].unit
    below = sources(server, mounted=state not in ("stopped", "crashed"))
    for source in below:
        if source.installation:
            list_files(run, source.installation)
    found = look(run, server, runtime.upper(server.name), below, seconds)
    late = "What it changes now is seen once it has stopped." if runtime.writes_elsewhere(server.name) else ""
    remark = f"{late} {found.remark}".strip()
    services.record_look(server=server, over=fingerprint(below), remark=remark, changes=found.changes)
    counts = Counter(change.kind for change in found.changes)
    kinds = [f"{counts[kind]} {kind.label}" for kind in FileChange.Kind if counts[kind]]
    return f"Its own files: {', '.join(kinds) or 'none'}. {remark}".strip()


def undo_waiting(run: Run, server: Server) -> None:
    """Undo what waits for the server to be stopped; what cannot be undone goes on waiting."""
    waiting = [Undo(one.path, one.is_whole) for one in server.file_reverts.all()]
    answers = get_runtime().undo(server.name, waiting) if waiting else {}
    if answers is None:
        run.log("It runs, so its files are reverted at its next start.")
        return
    done = [path for path, problem in answers.items() if not problem]
    if done:
        services.finish_reverts(server=server, paths=done)
        run.log(f"Reverted {len(done)} of its files to the layers below.")
    for problem in sorted({problem for problem in answers.values() if problem}):
        run.log(f"A file could not be reverted: {problem}")


def measure(run: Run, server: Server, *, seconds: float = math.inf) -> Measure:
    """Store what its own files take; returns what was counted in that time."""
    limit = time.monotonic() + seconds
    with closing(get_runtime().measure(server.name)) as counted:
        while not counted.step():
            run.check()
            if time.monotonic() > limit:
                counted.is_cut = True
                break
    services.record_disk(server=server, size=counted.size, is_cut=counted.is_cut)
    return counted


def look_after(run: Run, server: Server) -> None:
    """What follows a stop. It does not fail the stop, which is done, and does not take long: others wait for a worker.
    Whoever wants all of it asks for a look, which is a job of its own.
    """
    try:
        undo_waiting(run, server)
        measure(run, server, seconds=AFTER_STOP)
        take_look(run, server, seconds=AFTER_STOP)
    except (OSError, RuntimeFailure, ServerError) as error:
        run.log(f"Its files could not be looked at: {error}")
    except Exception:
        log.exception("The look at the files of %s failed", server)
        run.log("Its files could not be looked at, by a mistake of the portal.")
