"""Which files there are, for pages, which cannot see the disk: of a version of a game, and a server's own changes.

Part of `servers.models`, where everybody imports them from. Paths sort by bytes, so a folder's files stand together.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class InstallationFile(models.Model):
    """A file of a version of a game; listed once, since versions never change."""

    installation = models.ForeignKey("servers.Installation", on_delete=models.CASCADE, related_name="files")
    path = models.TextField(db_collation="C")
    size_bytes = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["installation", "path"], name="installation_file_once")]

    def __str__(self) -> str:
        return self.path


class FileLook(models.Model):
    """When a server's own files were last looked at, and what they lay over then (`servers.provenance.below`)."""

    server = models.OneToOneField(
        "servers.Server", on_delete=models.CASCADE, primary_key=True, related_name="file_look"
    )
    at = models.DateTimeField()
    over = models.CharField(max_length=64, help_text="Tells one stack of builds from another.")
    remark = models.CharField(max_length=300, blank=True, help_text="What was not looked at and why, in a sentence.")

    def __str__(self) -> str:
        return f"{self.server} at {self.at}"


class FileChange(models.Model):
    """How a server's own files differ from the layers below, as the last look found them."""

    class Kind(models.IntegerChoices):
        """In the order of what one wants to see first."""

        CHANGED = 1, "changed"
        DELETED = 2, "deleted"
        RENEWED = 3, "folder made anew"
        ADDED = 4, "added"
        SAME = 5, "same as below"

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="file_changes")
    path = models.TextField(db_collation="C")
    kind = models.PositiveSmallIntegerField(choices=Kind)
    below = models.CharField(max_length=120, blank=True, help_text="What would supply it otherwise.")
    below_bytes = models.BigIntegerField(null=True, help_text="Size of the file below, if there is one.")
    hides = models.PositiveIntegerField(default=0, help_text="Files of a folder below that cannot be seen.")
    size_bytes = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(null=True)
    diff = models.TextField(blank=True, help_text="Unified, from the file below.")
    remark = models.CharField(max_length=120, blank=True, help_text="Why there is no diff.")

    class Meta:
        ordering = ["kind", "path"]
        constraints = [
            models.UniqueConstraint(fields=["server", "path"], name="file_change_once"),
            models.CheckConstraint(condition=Q(kind__range=(1, 5)), name="file_change_kind"),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def is_folder(self) -> bool:
        return self.kind == self.Kind.RENEWED or (self.kind == self.Kind.DELETED and self.below_bytes is None)

    @property
    def is_whole(self) -> bool:
        """Whether undoing it takes away all there is in its place, not only what a folder hides."""
        return self.kind != self.Kind.RENEWED or self.below_bytes is not None


class FileRevert(models.Model):
    """A place in a server's files that is to be as the layers below have it: at once, or at the next start."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="file_reverts")
    path = models.TextField(db_collation="C")
    is_whole = models.BooleanField(default=True, help_text="As `FileChange.is_whole` was.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["server", "path"], name="file_revert_once")]

    def __str__(self) -> str:
        return self.path
