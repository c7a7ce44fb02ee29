"""What a server has on disk and for how long. Part of `servers.models`, where everybody imports it from."""

from datetime import datetime, timedelta

from django.db import models

KEEP_DELETED = timedelta(days=7)


class OnDisk(models.Model):
    """A server's own files: measured while it is there, put aside and kept for a week when it is deleted."""

    disk_bytes = models.BigIntegerField(default=0, editable=False, help_text="What its own files take.")
    disk_measured_at = models.DateTimeField(null=True, editable=False)
    disk_is_cut = models.BooleanField(default=False, editable=False, help_text="Not all of it could be counted.")
    deleted_at = models.DateTimeField(null=True, blank=True)
    put_away_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since then its files are aside."
    )

    class Meta:
        abstract = True

    @property
    def kept_until(self) -> datetime | None:
        """When a deleted one goes for good, at the latest an hour later."""
        return self.deleted_at and self.deleted_at + KEEP_DELETED
