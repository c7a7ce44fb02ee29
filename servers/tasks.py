"""The job kinds of servers: what a worker does. Each is safe to run twice, and its lines are for members."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from jobs.full_disk import SENTENCE
from jobs.registry import JobError, job_kind
from jobs.run import Run
from servers import access, games, ingame, own_files, services
from servers.errors import ServerError
from servers.layers import addon_order, stack
from servers.models import KEEP_DELETED, Installation, Right, Server, ServerFile
from servers.provenance import work
from servers.runtime import get_runtime
from servers.runtime.base import RuntimeFailure, ServerSpec
from servers.runtime.deleting import delete_tree
from servers.runtime.files import require_room
from servers.runtime.sockets import ports_in_use
from servers.services.creation import CLONE
from servers.services.deletion import DELETE, FORGET, PURGE, RESTORE
from servers.services.file_changes import LOOK, REVERT
from servers.services.installations import folder
from servers.services.ports import move_ports
from servers.services.power import RESTART, START, STOP
from servers.specs import server_spec

WAIT_FOR_NAMESAKE = 60  # seconds
FULL = 1 << 20  # bytes that are left of a disk on which a copy failed


@job_kind(START, time_limit=300, quick=True)
def start(run: Run, server: int) -> None:
    with explained():
        target = _present(server)
        if not _is_superseded(run, target, Server.Desired.RUN, STOP, RESTART):
            _launch(run, target)


@job_kind(STOP, time_limit=300, quick=True)
def stop(run: Run, server: int) -> None:
    with explained():
        target = _present(server)
        if not _is_superseded(run, target, Server.Desired.STOP, START, RESTART):
            _halt(run, target)
            work.look_after(run, target)


@job_kind(RESTART, time_limit=600, quick=True)
def restart(run: Run, server: int) -> None:
    with explained():
        target = _present(server)
        if not _is_superseded(run, target, Server.Desired.RUN, STOP):
            _require_startable(target)
            _halt(run, target)
            run.check()
            _launch(run, target)


@job_kind(DELETE, time_limit=600, quick=True)
def delete(run: Run, server: int) -> None:
    """Runs again only until the files are aside: after that, a new server may have the name."""
    with explained():
        target = Server.objects.filter(pk=server).first()
        if not target or not target.deleted_at or target.put_away_at:
            run.log("There is nothing left to do.")
            return
        _halt(run, target)
        work.measure(run, target)
        get_runtime().remove(target.name, _token(target))
        services.finish_put_away(server=target, at=timezone.now())
        run.log(f"Its files are kept for {KEEP_DELETED.days} days. A moderator can restore them until then.")


@job_kind(RESTORE, time_limit=600, quick=True)
def restore(run: Run, server: int) -> None:
    with explained():
        target = _present(server)
        if target.put_away_at:
            _wait_for_namesake(run, target)
            get_runtime().restore(target.name, _token(target))
            services.finish_put_away(server=target, at=None)
        run.log("The server's files are back in place.")


@job_kind(FORGET, time_limit=3600)
def forget(run: Run, server: int) -> None:
    """What `PURGE` does after a week, for one server and now."""
    with explained():
        target = Server.objects.filter(pk=server).first()
        if target is None:
            run.log("It is gone already.")
            return
        if not services.begin_forgetting(server=target):
            raise JobError(f"{target.name} is not deleted, or its files are not aside yet. Nothing was deleted.")
        get_runtime().forget(target.name, _token(target))
        services.forget_server(server=target)
        run.log(f"{target.name} and its files are gone for good.")


@job_kind(CLONE, time_limit=3600)
def clone(run: Run, server: int, source: int) -> None:
    """Copies the files that the source itself wrote; a copy that was interrupted is begun again."""
    with explained():
        target, origin = _present(server), _present(source)
        if Right.FILES not in access.rights(target.owner, origin):  # taken away since, and this may be a late retry
            raise JobError(f"{target.owner} may not read the files of {origin.name}. Ask its owner for that right.")
        files, into = _own_files(origin.name), _own_files(target.name)
        if into.exists() or not files.exists():
            run.log(f"{origin.name} has no files of its own to copy." if not into.exists() else "The files are there.")
            return
        if work.measure(run, origin).is_deep:
            raise JobError(f"{origin.name} has folders too deep to be copied. Revert or delete them, then try again.")
        services.reserve_copy(server=target, source=origin)
        partial = into.with_name("upper.partial")
        delete_tree(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            run.call(["cp", "--archive", "--reflink=auto", "--", str(files), str(partial)], timeout=3000)
        except JobError as error:
            is_full = shutil.disk_usage(partial.parent).free < FULL
            with suppress(OSError):
                delete_tree(partial)
            raise JobError(SENTENCE if is_full else str(error)) from error
        partial.rename(into)
        work.measure(run, target)
        run.log(f"The files of {origin.name} were copied.")


@job_kind(LOOK, time_limit=300)
def look_at_files(run: Run, server: int) -> None:
    with explained():
        run.log(work.take_look(run, _present(server)))


@job_kind(REVERT, time_limit=300)
def revert_files(run: Run, server: int) -> None:
    with explained():
        target = _present(server)
        work.undo_waiting(run, target)
        work.measure(run, target)
        run.log(work.take_look(run, target))


@job_kind(PURGE, time_limit=3600)
def purge(run: Run, node: str) -> None:
    with explained():
        runtime, gone, failed = get_runtime(), 0, []
        for server in services.outlived(node):
            run.check()
            try:
                runtime.forget(server.name, _token(server))
            except RuntimeFailure as error:
                run.log(str(error))
                failed.append(server.name)
            else:
                gone += services.purge_server(server=server)
        run.log(f"{gone} deleted servers are gone for good.")
        runtime.purge(KEEP_DELETED)  # what no row knows of
        if failed:
            raise JobError(f"Some deleted servers are still there: {', '.join(failed[:20])}. The lines above say why.")


@contextmanager
def explained() -> Iterator[None]:
    """Failures with a sentence for a member end the job with that sentence."""
    try:
        yield
    except (ServerError, RuntimeFailure, games.RenderError, games.SettingsError, games.UnknownGame) as error:
        raise JobError(str(error)) from error


def _present(number: int) -> Server:
    target = Server.objects.select_related("node", "blueprint").filter(pk=number, deleted_at=None).first()
    if not target:
        raise JobError("This server was deleted.")
    return target


def _is_superseded(run: Run, server: Server, desired: Server.Desired, *kinds: str) -> bool:
    """Whether somebody pressed another button since: the last press wins, also over a job that is run again."""
    newer = services.take_up(server=server, job=run.job_id, desired=desired, unless=kinds)
    if newer:
        run.log(f"“{newer.title}” was asked for since. Nothing to do here.")
    return newer is not None


def _require_startable(server: Server) -> None:
    """Before a game that runs is stopped to be started again: what can be known of that is told now, and it runs on."""
    require_room(Path(settings.STATE_DIR))
    stack.for_start(server)
    current = Installation.objects.filter(node=server.node, game=server.game, is_current=True).first()
    _require_files(current)


def _launch(run: Run, server: Server) -> None:
    _wait_for_namesake(run, server)  # first: what runs under this name may be the deleted one
    runtime = get_runtime()
    state = runtime.states([server.name])[server.name]
    if state.unit in ("running", "restarting"):
        run.log("It is running already." if state.unit == "running" else f"It is being restarted. {state.detail}")
        return
    if server.put_away_at:
        raise JobError("Its files were not brought back yet. Retry the job that restores it, then start it.")
    layers = stack.for_start(server)
    installation = _take_current_version(server, layers)
    _leave_ports_in_use(run, server)
    work.undo_waiting(run, server, seconds=work.QUICK)
    services.refuse_beyond(server.owner_id)
    files = own_files.for_start(server, run.log)
    spec = _spec(server, installation, layers, files)
    if layers:
        run.log(f"Layers over them: {', '.join(layer.name for layer in stack.layers(server))}; the first wins.")
    run.log(f"Files: {installation.game} {installation.version}. Settings are written afresh.")
    spec = ingame.enter_members(server, spec, run.log)
    spec = addon_order.list_addons(server, spec, layers)
    run.check()
    ports = ", ".join(f"{port.name} {port.number}" for port in server.ports.all())
    run.log(f"Starting on {server.node.address}, ports: {ports}.")
    services.record_start(server=server, files=files)
    began = time.monotonic()
    runtime.start(spec)
    run.log(f"Running after {time.monotonic() - began:.1f} s. Its console goes on from here.")


def _leave_ports_in_use(run: Run, server: Server) -> None:
    """Another program of the machine may have a port the portal gave away. The member cannot pick another, so we do."""
    in_use = ports_in_use()
    taken = list(server.ports.filter(number__in=in_use))
    for old in taken:
        run.log(f"Port {old.number} is used by another program on this machine.")
    move_ports(server=server, blocked=in_use)
    for old in taken:
        new = server.ports.get(name=old.name)
        run.log(f"The server has port {new.number} instead of {old.number}: tell your players.")


def _halt(run: Run, server: Server) -> None:
    runtime = get_runtime()
    if runtime.states([server.name])[server.name].unit != "stopped":
        run.log("Stopping. Players are disconnected.")
    runtime.stop(server.name)
    run.log("Stopped.")


def _take_current_version(server: Server, layers: Sequence[Path]) -> Installation:
    return _require_files(services.use_current_version(server=server, layers=[path.name for path in layers]))


def _require_files(found: Installation | None) -> Installation:
    if not found:
        raise JobError("The game is not installed on this machine. Press Start: that installs it first.")
    if not folder(found).is_dir():
        raise JobError(f"The files of {found} are missing on this machine. Ask an admin to install the game again.")
    return found


def _spec(
    server: Server, installation: Installation, layers: Sequence[Path], files: Sequence[ServerFile]
) -> ServerSpec:
    return server_spec(
        games.get(server.game),
        name=server.name,
        layers=(folder(installation), *layers),
        settings=server.chosen,
        secrets=server.secrets,
        ports={port.name: port.number for port in server.ports.all()},
        files=files,
        limited=(server, server.blueprint),
    )


def _wait_for_namesake(run: Run, server: Server) -> None:
    """A deleted server of this name may still be stopping: its files must be out of the way first."""
    leaving = Server.objects.filter(node=server.node, name=server.name, put_away_at=None).exclude(deleted_at=None)
    limit = time.monotonic() + WAIT_FOR_NAMESAKE
    while leaving.exists():
        run.check()
        if time.monotonic() > limit:
            raise JobError(
                "The files of a deleted server of the same name are still there. "
                "Ask a moderator to retry the job that deletes it, then start this one again."
            )
        time.sleep(0.2)


def _own_files(name: str) -> Path:
    return Path(settings.STATE_DIR) / "runtime" / name / "upper"


def _token(server: Server) -> str:
    return f"server-{server.pk}"
