"""What runs and who may touch it. Only fields, constraints and reads here; `servers/services.py` writes."""

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from jobs.models import Stream
from servers.audit_models import AuditEvent
from servers.disk_models import KEEP_DELETED, OnDisk
from servers.file_models import FileChange, FileLook, FileRevert, InstallationFile
from servers.host_models import HostReport
from servers.layer_models import Layer, LayerBuild, LayerFile, StackEntry, Upload
from servers.limit_models import Limited, limits_constraint
from servers.own_file_models import ServerFile
from servers.panel_models import ConsoleCommand, Pending, Sample
from servers.port_models import ServerPort
from servers.update_models import UpdateCheck

if TYPE_CHECKING:
    from portal.models import User

__all__ = [
    "KEEP_DELETED",
    "AuditEvent",
    "Blueprint",
    "ConsoleCommand",
    "FileChange",
    "FileLook",
    "FileRevert",
    "HostReport",
    "Installation",
    "InstallationFile",
    "Layer",
    "LayerBuild",
    "LayerFile",
    "Membership",
    "Node",
    "Pending",
    "Right",
    "Sample",
    "Server",
    "ServerFile",
    "ServerPort",
    "StackEntry",
    "UpdateCheck",
    "Upload",
]
NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
TRIAL_PREFIX = "probe--"  # of the names of servers on which the portal itself tries a new version of a game


class Right(models.TextChoices):
    """What a member may do with a server; the owner and moderators may do everything."""

    VIEW = "view"
    POWER = "power"
    CONSOLE = "console"
    RCON = "rcon"
    FILES = "files"
    SETTINGS = "settings"
    MEMBERS = "members"


class Node(models.Model):
    """A machine that runs servers; its slug names the job queue its cluster works on."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=60)
    address = models.CharField(max_length=253, default="127.0.0.1", help_text="Where players connect.")
    query_host = models.CharField(
        max_length=253, default="127.0.0.1", help_text="Where the node's agent reaches its own games to query them."
    )
    agent_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    agent_info = models.JSONField(default=dict, editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def asked_at(self) -> str:
        """Where its games are asked: at the address they listen on, where that is one."""
        return self.query_host if ip_address(settings.GAMES_BIND).is_unspecified else settings.GAMES_BIND


class Installation(models.Model):
    """One immutable version of a game's files on a node; servers move to the current one at their next start."""

    class State(models.TextChoices):
        BUILDING = "building"
        READY = "ready"
        HELD = "held", "tried, not promoted"
        FAILED = "failed"

    USABLE = (State.READY, State.HELD)  # its files are there and a server was seen to run on them

    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="installations")
    game = models.SlugField(max_length=63)
    version = models.CharField(max_length=100, help_text="As its source names it; also the folder's name.")
    state = models.CharField(max_length=8, choices=State, default=State.BUILDING)
    is_current = models.BooleanField(default=False)
    detail = models.CharField(max_length=300, blank=True, help_text="Why it failed or is held back, in a sentence.")
    size_bytes = models.BigIntegerField(default=0)
    shared_bytes = models.BigIntegerField(default=0, help_text="Of these, in files it shared with the one before.")
    file_count = models.PositiveIntegerField(null=True, editable=False, help_text="Once they are listed in `files`.")
    job = models.ForeignKey(
        "jobs.Job", on_delete=models.SET_NULL, null=True, editable=False, related_name="+", help_text="What built it."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    promoted_at = models.DateTimeField(null=True, editable=False, help_text="When it last became the current one.")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["node", "game", "version"], name="installation_version"),
            models.UniqueConstraint(
                fields=["node", "game"], condition=Q(is_current=True), name="installation_one_current"
            ),
            models.CheckConstraint(condition=Q(is_current=False) | Q(state="ready"), name="installation_current_ready"),
        ]

    def __str__(self) -> str:
        return f"{self.game} {self.version}"


class Blueprint(Limited):
    """What a member picks: a game with settings already chosen."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=60)
    summary = models.CharField(max_length=200, blank=True)
    game = models.SlugField(max_length=63)
    settings = models.JSONField(default=dict, blank=True)
    is_offered = models.BooleanField(default=True, help_text="Members may create servers from it.")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "name"]
        constraints = [limits_constraint("blueprint")]

    def __str__(self) -> str:
        return self.name


class ServerQuerySet(models.QuerySet["Server"]):
    """Reads of servers."""

    def present(self) -> Self:
        return self.filter(deleted_at=None)

    def kept_for(self, owner: "User") -> Self:
        """Deleted ones whose files are kept, the oldest first."""
        return self.filter(owner=owner).exclude(deleted_at=None).order_by("deleted_at")

    def visible_to(self, user: "User") -> Self:
        """Servers the user may view (the same rule as `servers.access.rights`)."""
        if not user.is_authenticated or not user.may_enter:
            return self.none()
        if user.is_staff:
            return self.present()
        return self.of(user)

    def of(self, user: "User") -> Self:
        """Servers the user owns or was given rights on; for staff fewer than they may view."""
        member = Membership.objects.filter(user=user, rights__contains=[Right.VIEW]).values("server")
        # A union and no OR, for which PostgreSQL would look at every server.
        return self.present().filter(pk__in=Server.objects.filter(owner=user).values("pk").union(member))


class Server(Limited, OnDisk):
    """A member's game server: what is wanted (`desired`) apart from what the agent sees (`unit`, `query`)."""

    class Desired(models.TextChoices):
        RUN = "run"
        STOP = "stop"

    class Unit(models.TextChoices):
        STOPPED = "stopped"
        STARTING = "starting"
        RUNNING = "running"
        RESTARTING = "restarting", "restarting after a crash"
        STOPPING = "stopping"
        CRASHED = "crashed"

    name = models.CharField(max_length=32, validators=[RegexValidator(NAME_PATTERN)])
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="servers")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="servers")
    blueprint = models.ForeignKey(Blueprint, on_delete=models.SET_NULL, null=True, blank=True, related_name="servers")
    game = models.SlugField(max_length=63)
    installation = models.ForeignKey(
        Installation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="servers",
        help_text="What it last started on.",
    )
    mounted = ArrayField(
        models.CharField(max_length=64), default=list, editable=False, help_text="Layer builds it last started with."
    )
    settings = models.JSONField(default=dict, blank=True, help_text="Chosen values by key; the rest are defaults.")
    follows_blueprint = models.BooleanField(
        default=False, help_text="What its blueprint says goes under its settings at each start, not only at the first."
    )
    started_with = models.JSONField(
        default=dict, editable=False, help_text="Every setting's value as it was last started with."
    )
    secrets = models.JSONField(default=dict, editable=False, help_text="Generated values, such as the rcon password.")
    console = models.OneToOneField(Stream, on_delete=models.PROTECT, related_name="server")
    desired = models.CharField(max_length=4, choices=Desired, default=Desired.STOP)
    unit = models.CharField(max_length=10, choices=Unit, default=Unit.STOPPED)
    unit_detail = models.CharField(max_length=300, blank=True, help_text="Why it is in that state, in a sentence.")
    unit_at = models.DateTimeField(default=timezone.now)
    # Last answer of the game's query: {"ok": bool, "map", "name", "players", "max_players", "bots", "list": [...]}
    query = models.JSONField(default=dict, editable=False)
    query_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ServerQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(deleted_at=None), name="server_name_taken"),
            models.CheckConstraint(condition=Q(name__regex=NAME_PATTERN), name="server_name_pattern"),
            models.CheckConstraint(condition=~Q(name__startswith=TRIAL_PREFIX), name="server_name_not_a_trial"),
            models.CheckConstraint(condition=Q(deleted_at=None) | Q(desired="stop"), name="server_deleted_stopped"),
            models.CheckConstraint(
                condition=Q(follows_blueprint=False) | Q(blueprint__isnull=False), name="server_follows_something"
            ),
            limits_constraint("server"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def topic(self) -> str:
        """The subject of its jobs and the topic its changes are published under."""
        return f"server:{self.pk}"

    @property
    def chosen(self) -> dict[str, Any]:
        """Settings of the next start, without defaults. Reads `blueprint` where it follows that: fetch it too."""
        base = self.blueprint.settings if self.blueprint and self.follows_blueprint else {}
        return {**base, **self.settings}

    @property
    def is_live(self) -> bool:
        return self.unit in (self.Unit.STARTING, self.Unit.RUNNING, self.Unit.RESTARTING, self.Unit.STOPPING)

    @property
    def address(self) -> str:
        """Where players connect, or nothing while it has no port. Reads `node` and `ports`: fetch both with a list."""
        host = f"[{self.node.address}]" if ":" in self.node.address else self.node.address
        return next((f"{host}:{port.number}" for port in self.ports.all() if port.name == "game"), "")

    def facts(self) -> dict[str, Any]:
        """The last query answer, empty unless the server runs and answered."""
        return self.query if self.unit == self.Unit.RUNNING and self.query.get("ok") else {}

    @property
    def query_error(self) -> str:
        """Why the game of a server that runs does not answer, in a sentence, once it has not for a while."""
        return str(self.query.get("error") or "") if self.unit == self.Unit.RUNNING and not self.facts() else ""


class Membership(models.Model):
    """Rights of one user on one server of somebody else."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    server = models.ForeignKey(Server, on_delete=models.CASCADE, related_name="memberships")
    rights = ArrayField(models.CharField(max_length=10, choices=Right))

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "server"], name="membership_once"),
            models.CheckConstraint(
                condition=Q(rights__contained_by=list(Right.values)), name="membership_known_rights"
            ),
            models.CheckConstraint(condition=Q(rights__contains=[Right.VIEW]), name="membership_can_view"),
        ]

    def __str__(self) -> str:
        return f"{self.user} on {self.server}"
