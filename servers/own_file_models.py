"""Config files that a server's members write by hand. Part of `servers.models`, where everybody imports it from."""

import hashlib

from django.conf import settings
from django.db import models
from django.db.models import F, Func, IntegerField
from django.db.models.lookups import LessThanOrEqual
from django.utils import timezone

MOST_BYTES = 64 << 10  # of one file


def version_of(text: str) -> str:
    """Names a text: whoever replaces it says which one they saw."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class ServerFile(models.Model):
    """A file the next start writes for the server, or lines after those it makes from the settings."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="own_files")
    path = models.CharField(max_length=300, help_text="Below the top of the game's files.")
    text = models.TextField(blank=True)
    updated_at = models.DateTimeField(default=timezone.now)
    updated_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    is_started = models.BooleanField(default=False, help_text="The last start wrote it as it is now.")

    class Meta:
        ordering = ["path"]
        constraints = [
            models.UniqueConstraint(fields=["server", "path"], name="server_file_once"),
            models.CheckConstraint(
                condition=LessThanOrEqual(
                    Func(F("text"), function="octet_length", output_field=IntegerField()), MOST_BYTES
                ),
                name="server_file_bounded",
            ),
        ]

    def __str__(self) -> str:
        return self.path

    @property
    def version(self) -> str:
        """Of its text."""
        return version_of(self.text)
