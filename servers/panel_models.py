"""What the live panel keeps: how a server did over the last weeks, and what is to be done with it later."""

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Sample(models.Model):
    """A running server at one minute; written by its node's agent and kept for 30 days."""

    # No index of its own: a chart's query took it and read all of a server's samples.
    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField(help_text="A whole minute.")
    players = models.PositiveSmallIntegerField(null=True, help_text="Bots among them; empty while it does not answer.")
    map = models.CharField(max_length=120, blank=True)
    cpu = models.FloatField(null=True, help_text="Percent of one processor since the sample before.")
    memory = models.BigIntegerField(null=True, help_text="Bytes.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["server", "at"], name="sample_once_a_minute")]
        indexes = [BrinIndex(fields=["at"], name="sample_by_age")]

    def __str__(self) -> str:
        return f"{self.server_id} at {self.at:%Y-%m-%d %H:%M}"


class Pending(models.Model):
    """A stop or restart that waits: for the server to be empty, or for an announced moment. The agent watches it and
    presses the button when it is time, so no worker waits."""

    class Verb(models.TextChoices):
        RESTART = "restart"
        STOP = "stop"

    server = models.OneToOneField("servers.Server", on_delete=models.CASCADE, related_name="pending")
    verb = models.CharField(max_length=7, choices=Verb)
    due_at = models.DateTimeField(null=True, blank=True, help_text="When; empty: once nobody plays.")
    expires_at = models.DateTimeField(help_text="It is given up then.")
    told = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Seconds that were left when players were last told."
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(due_at=None) | Q(expires_at__gt=models.F("due_at")), name="pending_ends_after_it_is_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.server_id} later"
