"""What goes over a game's files: layers, their immutable builds, and the ordered stacks of servers and blueprints.

Part of `servers.models`, where everybody imports them from.
"""

from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from servers.own_file_models import version_of

if TYPE_CHECKING:
    from portal.models import User


class LayerQuerySet(models.QuerySet["Layer"]):
    """Reads of layers."""

    def usable_by(self, user: "User") -> Self:
        """Layers the user may see and put on a stack (the same rule as `servers.access.may_use_layer`)."""
        if not user.is_authenticated or not user.may_enter:
            return self.none()
        if user.is_staff:
            return self
        shared = Q(
            visibility=Layer.Visibility.SHARED,
            pk__in=Layer.shared_with.through.objects.filter(user=user).values("layer"),
        )
        return self.filter(Q(visibility=Layer.Visibility.PUBLIC) | Q(owner=user) | shared)


class Layer(models.Model):
    """Files that servers of one game put over the game's own; each change makes a new build."""

    class Kind(models.TextChoices):
        ARCHIVE = "archive", "Uploaded file"
        WORKSHOP = "workshop", "Steam Workshop"
        FILES = "files", "Written here"
        SCRIPT = "script", "Script"

    class Visibility(models.TextChoices):
        PRIVATE = "private", "Only me"
        SHARED = "shared", "Members I name"
        PUBLIC = "public", "Every member"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=60)
    game = models.SlugField(max_length=63)
    kind = models.CharField(max_length=8, choices=Kind)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="layers")
    visibility = models.CharField(max_length=7, choices=Visibility, default=Visibility.PRIVATE)
    shared_with = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="layers_shared", blank=True)
    # files: {"files": {path: text}}; workshop: {"ids": [id, …]}; archive: {"filename"};
    # script: {"script": text, "network": whether it may use it}
    source = models.JSONField(default=dict, editable=False)
    build = models.ForeignKey(
        "servers.LayerBuild",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="What servers take at their next start.",
    )
    building_bytes = models.BigIntegerField(
        default=0, editable=False, help_text="Of its owner's disk, reserved by a build."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    refreshed_at = models.DateTimeField(default=timezone.now, editable=False, help_text="When its source was read.")

    objects = LayerQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def topic(self) -> str:
        """The subject of its jobs and the topic its changes are published under."""
        return f"layer:{self.pk}"

    @property
    def source_text(self) -> str:
        """What one writes to say what it is made from: a script, or items a line."""
        return str(self.source.get("script", "\n".join(self.source.get("ids", []))))

    @property
    def source_version(self) -> str:
        """Names what it is made from; what a build found of it does not count."""
        return version_of(f"{self.source.get('network', False)} {self.source_text}")


class LayerBuild(models.Model):
    """One finished, immutable state of a layer: the folder STATE_DIR/layers/DIGEST, named by its content."""

    layer = models.ForeignKey(Layer, on_delete=models.CASCADE, related_name="builds")
    digest = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    file_count = models.PositiveIntegerField()
    # What its add-ons bring: [{"addon", "title", "modes": {mode: [map, …]}}]
    campaigns = models.JSONField(default=list)
    maps = ArrayField(models.CharField(max_length=100), default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["layer", "digest"], name="layer_build_once"),
            models.CheckConstraint(condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="layer_build_digest"),
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class LayerFile(models.Model):
    """A file of a build, or one inside an add-on package (`addon`: the package's path in the build)."""

    build = models.ForeignKey(LayerBuild, on_delete=models.CASCADE, related_name="files")
    addon = models.TextField(blank=True)
    path = models.TextField(help_text="Relative to the game's files, also for one inside an add-on.")
    size_bytes = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["build", "path", "addon"], name="layer_file_once")]

    def __str__(self) -> str:
        return self.path


class StackEntry(models.Model):
    """A layer on the stack of a server or a blueprint; position 0 is the uppermost, which wins.

    A *slot* is a place with a label that says what belongs there; it keeps that when it is empty.
    """

    layer = models.ForeignKey(Layer, on_delete=models.PROTECT, null=True, blank=True, related_name="entries")
    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, null=True, blank=True, related_name="stack")
    blueprint = models.ForeignKey(
        "servers.Blueprint", on_delete=models.CASCADE, null=True, blank=True, related_name="stack"
    )
    position = models.PositiveSmallIntegerField()
    slot = models.CharField(max_length=60, blank=True, help_text="What belongs there; empty for any other layer.")
    hint = models.CharField(max_length=300, blank=True, help_text="Where the slot's files come from.")
    is_required = models.BooleanField(default=False, help_text="Nothing starts while the slot is empty.")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.CheckConstraint(condition=Q(layer__isnull=False) | ~Q(slot=""), name="stack_entry_layer_or_slot"),
            *(
                models.UniqueConstraint(fields=[whose, "slot"], condition=~Q(slot=""), name=f"stack_{whose}_slot")
                for whose in ("server", "blueprint")
            ),
            models.CheckConstraint(
                condition=Q(server=None, blueprint__isnull=False) | Q(server__isnull=False, blueprint=None),
                name="stack_entry_of_one",
            ),
            *(
                models.UniqueConstraint(
                    fields=[whose, what], name=f"stack_{whose}_{what}", deferrable=models.Deferrable.DEFERRED
                )
                for whose in ("server", "blueprint")
                for what in ("layer", "position")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.layer or self.slot} at {self.position}"


class Upload(models.Model):
    """A file on its way from a browser, piece by piece: STATE_DIR/uploads/KEY."""

    key = models.UUIDField(primary_key=True, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="uploads")
    filename = models.CharField(max_length=255)
    size_bytes = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="As the browser computed it, once all is here.")
    touched_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(received__gte=0, received__lte=models.F("size_bytes")), name="upload_received_bounded"
            )
        ]

    def __str__(self) -> str:
        return self.filename
