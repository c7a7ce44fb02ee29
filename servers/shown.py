"""What a page says about a server: one state made of what the agent saw, what is wanted and the job under way."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db.models import Prefetch
from django.utils import timezone

from jobs.models import Job, Line
from servers import access, games
from servers.disk import DiskUse, last_known
from servers.forms import LaterForm
from servers.limits import Limits, effective
from servers.models import Installation, Membership, Pending, Right, Server, ServerQuerySet
from servers.services.file_changes import LOOK, REVERT
from servers.services.power import RESTART, START, STOP

if TYPE_CHECKING:
    from portal.models import User

AGENT_SILENT = timedelta(seconds=60)
LAST_LINES = 8
BUSY_LABELS = {
    START: "Starting",
    STOP: "Stopping",
    RESTART: "Restarting",
    "servers.clone": "Copying files",
    LOOK: "Looking at files",
    REVERT: "Reverting files",
}
UNIT_STATES = {
    Server.Unit.STOPPED: ("idle", "Stopped"),
    Server.Unit.STARTING: ("busy", "Starting"),
    Server.Unit.RUNNING: ("good", "Running"),
    Server.Unit.RESTARTING: ("bad", "Restarting after a crash"),
    Server.Unit.STOPPING: ("busy", "Stopping"),
    Server.Unit.CRASHED: ("bad", "Crashed"),
}


@dataclass
class Shown:
    """A server as `user` sees it; `job` is the one under way, if any, and `ahead` one that has to end before it."""

    server: Server
    user: "User"
    job: Job | None = None
    ahead: Job | None = None

    @cached_property
    def rights(self) -> frozenset[Right]:
        return access.rights(self.user, self.server)

    @property
    def may(self) -> dict[str, bool]:
        """For templates: `shown.may.power`."""
        return {right.value: right in self.rights for right in Right}

    @cached_property
    def game(self) -> "games.Game | None":
        return games.all_games().get(self.server.game)

    @property
    def game_name(self) -> str:
        return self.game.name if self.game else self.server.game

    @property
    def limits(self) -> Limits:
        """Of its next start. Reads `blueprint`."""
        return effective(self.server, self.server.blueprint, self.game and self.game.limits)

    @property
    def _kind(self) -> str:
        return self.job.kind if self.job else ""

    @property
    def state(self) -> tuple[str, str]:
        """Tone (good, busy, bad or idle) and label."""
        if self.job:
            return "busy", BUSY_LABELS.get(self._kind, "Working")
        return UNIT_STATES[Server.Unit(self.server.unit)]

    @property
    def since(self) -> datetime:
        """When that state began."""
        return self.job.created_at if self.job else self.server.unit_at

    @property
    def detail(self) -> str:
        """Why it is in that state, or what it waits for, in a sentence."""
        if self.waits_for:
            return f"Waiting for another job: {self.waits_for.title}."
        if self.job and self.job.state == Job.State.QUEUED:
            return "Waiting for its turn: no worker is free yet."
        return "" if self.job else self.server.unit_detail

    @property
    def waits_for(self) -> Job | None:
        """What its job follows, or what works on the server before it."""
        if not self.job or self.job.state != Job.State.QUEUED:
            return None
        return self.job.after if self.job.after and self.job.after.is_active else self.ahead

    @property
    def is_crashed(self) -> bool:
        """It ended by itself: for good, or to be started again in a moment."""
        return not self.job and self.server.unit in (Server.Unit.CRASHED, Server.Unit.RESTARTING)

    @property
    def may_start(self) -> bool:
        return not self.server.is_live and not self.job

    @property
    def is_starting(self) -> bool:
        return self._kind in (START, RESTART)

    @property
    def is_stopping(self) -> bool:
        return self._kind == STOP or (not self.job and self.server.unit == Server.Unit.STOPPING)

    @property
    def is_on(self) -> bool:
        """Whether *Stop* is the button to show: it runs, or somebody asked for it."""
        return self.server.is_live or self.is_starting

    @property
    def map(self) -> str:
        return str(self.server.facts().get("map") or "")

    @property
    def players(self) -> int | None:
        """People and bots on it, None while it does not answer."""
        return self.server.facts().get("players")

    @property
    def max_players(self) -> int | None:
        return self.server.facts().get("max_players")

    @property
    def player_list(self) -> list[dict[str, Any]]:
        return list(self.server.facts().get("list") or [])

    @property
    def waits_for_answer(self) -> bool:
        """It runs, but the game has not answered its query (yet)."""
        return self.server.unit == Server.Unit.RUNNING and not self.server.facts()

    @property
    def join_url(self) -> str:
        """A link that opens the game on this server, for games that have one."""
        if self.game and self.game.appid and self.server.unit == Server.Unit.RUNNING and self.server.address:
            return f"steam://connect/{self.server.address}"
        return ""

    @property
    def disk(self) -> DiskUse:
        """All that its owner has on disk, as it was counted last."""
        return last_known(self.server.owner, reader=self.user)

    @property
    def pending(self) -> Pending | None:
        """What waits for the server to be empty or for its moment."""
        return getattr(self.server, "pending", None)

    @property
    def later_form(self) -> LaterForm | None:
        """To stop or restart it later, for who may, where its game can tell when."""
        if Right.POWER not in self.rights or self.job or self.server.unit != Server.Unit.RUNNING:
            return None
        form = LaterForm(game=self.game, auto_id="later-%s")
        return form if form.offered else None

    @property
    def offered_commands(self) -> tuple[str, ...] | None:
        """What to offer while one types a command; None when the user may send none, or the game takes none."""
        if not self.game or not self.game.console:
            return None
        console = self.game.console
        if Right.RCON in self.rights:
            return console.commands
        return (console.safe or None) if Right.CONSOLE in self.rights else None

    @property
    def agent_silent_since(self) -> datetime | None:
        """When the node's agent was last heard, if that is too long ago for the state to be trusted."""
        seen = self.server.node.agent_seen_at
        return seen if seen and timezone.now() - seen > AGENT_SILENT else None

    @cached_property
    def has_newer_version(self) -> bool:
        """Whether its next start uses another version of its game than it last started on. One query."""
        versions = Installation.objects.filter(node=self.server.node_id, game=self.server.game, is_current=True)
        return versions.exclude(pk=self.server.installation_id or 0).exists()

    @cached_property
    def last_lines(self) -> list[str]:
        """The end of a crashed server's console, for who may read it."""
        if not self.is_crashed or Right.CONSOLE not in self.rights:
            return []
        lines = Line.objects.filter(stream=self.server.console_id).order_by("-seq")
        return list(lines.values_list("text", flat=True)[:LAST_LINES])[::-1]


def for_display(servers: ServerQuerySet, user: "User") -> ServerQuerySet:
    """`servers` with all that their display reads."""
    mine = Prefetch("memberships", Membership.objects.filter(user=user))
    joined = servers.select_related("node", "owner", "installation", "pending", "blueprint")
    return joined.prefetch_related("ports", mine)


def show_all(servers: Iterable[Server], user: "User") -> list[Shown]:
    """Each with its job under way; one query for all."""
    chosen: Sequence[Server] = list(servers)
    topics = [server.topic for server in chosen]
    newest_first = Job.objects.active().about(*topics).select_related("after").order_by("-pk")
    jobs: dict[str, list[Job]] = {}
    for job in newest_first:
        jobs.setdefault(job.subject, []).append(job)
    # The newest of a subject: the last press wins. The oldest is the one that runs, or is the next to.
    under_way = [jobs.get(topic, [None]) for topic in topics]
    return [
        Shown(server, user, active[0], active[-1] if len(active) > 1 else None)
        for server, active in zip(chosen, under_way, strict=True)
    ]


def show(server: Server, user: "User") -> Shown:
    return show_all([server], user)[0]
