"""What the page about installations says: each game on each node, its versions, who stands on which, and its job."""

from collections import defaultdict
from dataclasses import dataclass, field

from jobs.models import Job
from servers import games
from servers.models import Installation, Node, Server, UpdateCheck
from servers.services.versions import topic


@dataclass
class ShownVersion:
    """A version and the servers that last started on it."""

    installation: Installation
    servers: list[Server]
    is_older: bool  # than the current one: promoting it is going back


@dataclass
class ShownGame:
    """A game on a node; `job` is the one under way, if any."""

    node: Node
    slug: str
    name: str
    is_defined: bool
    is_updatable: bool
    job: Job | None = None
    check: UpdateCheck | None = None
    versions: list[ShownVersion] = field(default_factory=list)

    @property
    def current(self) -> Installation | None:
        return next((v.installation for v in self.versions if v.installation.is_current), None)

    @property
    def newer(self) -> str:
        """A version that could be installed, as the last look for one said."""
        known = {version.installation.version for version in self.versions}
        return self.check.newest if self.check and self.current and self.check.newest not in known else ""

    @property
    def topics(self) -> str:
        """Of all that this part of the page shows."""
        standing = (server.topic for version in self.versions for server in version.servers)
        return " ".join([topic(self.node, self.slug), *standing])


def show_games(nodes: list[Node], slugs: list[str] | None = None) -> list[ShownGame]:
    """Every game that is defined or installed on `nodes`, by name; of `slugs` alone if given. In four queries."""
    found = Installation.objects.filter(node__in=nodes).select_related("node", "job")
    defined = games.all_games()
    rows: dict[tuple[int, str], list[Installation]] = {(node.pk, slug): [] for node in nodes for slug in defined}
    for installation in found:
        rows.setdefault((installation.node_id, installation.game), []).append(installation)
    by_pk = {node.pk: node for node in nodes}
    wanted = {key: versions for key, versions in rows.items() if slugs is None or key[1] in slugs}
    jobs = _jobs({topic(by_pk[pk], slug) for pk, slug in wanted})
    checks = {(check.node_id, check.game): check for check in UpdateCheck.objects.filter(node__in=nodes)}
    standing = _standing(nodes)
    shown = []
    for (pk, slug), versions in wanted.items():
        game, subject = defined.get(slug), topic(by_pk[pk], slug)
        one = ShownGame(by_pk[pk], slug, game.name if game else slug, game is not None, comes_from_outside(game))
        one.job, one.check = jobs.get(subject), checks.get((pk, slug))
        current = next((version.pk for version in versions if version.is_current), 0)
        one.versions = [ShownVersion(version, standing[version.pk], version.pk < current) for version in versions]
        shown.append(one)
    return sorted(shown, key=lambda one: (one.name.lower(), one.node.slug))


def comes_from_outside(game: "games.Game | None") -> bool:
    """Whether there can be newer versions than the portal itself brings."""
    return game is not None and game.install.method != "builtin"


def _jobs(subjects: set[str]) -> dict[str, Job]:
    """The one under way of each, which is the oldest that is not done."""
    return {job.subject: job for job in Job.objects.active().about(*subjects).order_by("-pk")}


def _standing(nodes: list[Node]) -> dict[int, list[Server]]:
    by_version: dict[int, list[Server]] = defaultdict(list)
    for server in Server.objects.present().filter(node__in=nodes, installation__isnull=False):
        by_version[server.installation_id or 0].append(server)
    return by_version
