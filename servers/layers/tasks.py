"""The job kinds of layers: building one, and deleting what nobody has any more."""

from uuid import UUID

from jobs.registry import JobError, job_kind
from jobs.run import Run
from servers import games, services
from servers.errors import ServerError
from servers.layers import stack, workshop
from servers.layers.build import build, placing
from servers.models import Layer
from servers.runtime import scripts
from servers.runtime.deleting import delete_tree
from servers.services.layer_cleaning import CLEAN, lost_builds, unused_digests
from servers.services.layers import BUILD, TIME_LIMIT


@job_kind(BUILD, time_limit=TIME_LIMIT)
def build_layer(run: Run, layer: int, upload: str = "") -> None:
    if not _is_upload_key(upload):
        raise JobError("That is not the number of an upload. Upload the file again.")
    target = Layer.objects.select_related("owner", "build").filter(pk=layer).first()
    if target is None:
        run.log("The layer was deleted. There is nothing to do.")
        return
    try:
        build(run, target, upload)
    except (ServerError, games.UnknownGame) as error:
        raise JobError(str(error)) from error


@job_kind(CLEAN, time_limit=3600)
def clean(run: Run) -> None:
    """Deletes uploads nobody continued and folders of builds that neither a layer nor a server has."""
    run.log(f"{services.discard_stale_uploads()} uploads that nobody finished are gone.")
    with placing():
        lost = lost_builds()
        for folder in (path for path, layer in stack.partials_here().items() if layer in lost):
            delete_tree(folder)
        services.forget_lost_builds(layers=lost)
        unused = unused_digests(stack.digests_here())
        for digest in unused:
            run.check()
            delete_tree(stack.folder(digest))
    for download in (downloads := workshop.unused_downloads()):
        download.unlink(missing_ok=True)
    run.log(f"{len(downloads)} downloads from the Workshop are gone: no build has them any more.")
    for folder in scripts.left_over():
        scripts.clear(folder)
    run.log(f"{len(unused)} builds that nobody has any more are gone.")


def _is_upload_key(key: str) -> bool:
    """Whether an upload could have that number; none at all is fine, too."""
    try:
        return not key or bool(UUID(key))
    except ValueError:
        return False
