"""The job kinds of games' versions: installing one, asking for a newer one, and deleting what is left of others."""

from jobs.registry import JobError, job_kind
from jobs.run import Run
from servers import games, installing
from servers.models import Node
from servers.services.installations import CLEAN_UP, INSTALL
from servers.services.updates import CHECK
from servers.tasks import explained


@job_kind(INSTALL, time_limit=4 * 3600)
def install(run: Run, node: str, game: str, update: bool = False) -> None:
    with explained():
        installing.install(run, node=_node(node), game=games.get(game), update=update)


@job_kind(CHECK)
def check_for_updates(run: Run, node: str, game: str) -> None:
    with explained():
        installing.check_for_updates(run, node=_node(node), game=games.get(game))


@job_kind(CLEAN_UP, time_limit=3600)
def clean_up(run: Run, node: str, game: str, unused: bool = True) -> None:
    with explained():
        installing.clean_up(run, node=_node(node), game=game, unused=unused)


def _node(slug: str) -> Node:
    found = Node.objects.filter(slug=slug).first()
    if not found:
        raise JobError(f"There is no machine {slug} any more.")
    return found
