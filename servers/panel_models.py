"""What the live panel keeps: how a server did, what is to be done with it later, and commands on their way to it."""

from datetime import timedelta
from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
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

    @property
    def after(self) -> timedelta | None:
        """How long it was to be counted down."""
        return self.due_at - self.created_at if self.due_at else None


class ConsoleCommandQuerySet(models.QuerySet["ConsoleCommand"]):
    """Reads of commands."""

    def waiting(self) -> Self:
        """Those that somebody waits for."""
        return self.filter(answered_at=None, expires_at__gt=Now())


class ConsoleCommand(models.Model):
    """Lines for a running game's remote console, on their way to its node and back: the agent there takes the row,
    sends them and writes the answers. Whoever asked deletes it; what nobody waits for any more the agent clears."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="commands")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+")
    lines = models.JSONField(help_text="Sent one after another, each once the one before is answered.")
    shows = models.BooleanField(default=True, help_text="Whether lines and answers are lines of the console.")
    expires_at = models.DateTimeField(help_text="Not sent after that, and nobody waits any more.")
    taken_at = models.DateTimeField(null=True, help_text="Sent once at most: a command may not bear repeating.")
    answered_at = models.DateTimeField(null=True)
    answers = models.JSONField(default=list, help_text="One for each line, without the server's secrets.")
    error = models.TextField(blank=True, help_text="Why there are no answers, in a sentence.")

    objects = ConsoleCommandQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(answered_at=None) | Q(taken_at__isnull=False), name="command_answered_once_taken"
            )
        ]

    def __str__(self) -> str:
        return f"a command to {self.server_id}"
