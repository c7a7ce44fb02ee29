"""What the job engine keeps: streams of numbered lines, and jobs, each with a stream. It never names a server."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Stream(models.Model):
    """An append-only log; `jobs/streams.py` alone writes it. Lines first_seq..last_seq are there, without holes."""

    last_seq = models.BigIntegerField(default=0)
    first_seq = models.BigIntegerField(default=1, help_text="Lowest number still kept; retention raises it.")
    keep = models.PositiveIntegerField(default=250_000, help_text="Lines kept at most.")
    size_bytes = models.BigIntegerField(default=0, help_text="Of the text of the lines kept; bounded too.")
    # How far the source of the lines was read, in the source's own terms. Saved in the transaction that appends
    # them, so that a reader starting again neither loses nor doubles a line.
    cursor = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(first_seq__gte=1, last_seq__gte=F("first_seq") - 1), name="stream_range")
        ]

    def __str__(self) -> str:
        return f"stream {self.pk}"


class Line(models.Model):
    """One line of a stream. Its text is hostile: shown as text only."""

    pk = models.CompositePrimaryKey("stream_id", "seq")
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="lines", db_index=False)
    seq = models.BigIntegerField()
    at = models.DateTimeField()
    text = models.TextField()

    class Meta:
        ordering = ["stream_id", "seq"]

    def __str__(self) -> str:
        return self.text


class JobQuerySet(models.QuerySet["Job"]):
    """Reads of jobs."""

    def active(self) -> Self:
        return self.filter(state__in=Job.ACTIVE)

    def finished(self) -> Self:
        return self.exclude(state__in=Job.ACTIVE)

    def about(self, *subjects: str) -> Self:
        return self.filter(subject__in=subjects)


class Job(models.Model):
    """One piece of work on one subject: queued → running → succeeded | failed | cancelled | lost."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"
        LOST = "lost"

    ACTIVE = (State.QUEUED, State.RUNNING)

    kind = models.CharField(max_length=64)
    subject = models.CharField(max_length=128, help_text="What it works on, and the topic its changes are told under.")
    title = models.CharField(max_length=200, help_text="What a member reads: “Start tuesday-coop”.")
    args = models.JSONField(default=dict)
    node = models.SlugField(max_length=63, help_text="Name of the queue, which is the node's slug.")
    state = models.CharField(max_length=9, choices=State, default=State.QUEUED)
    stream = models.OneToOneField(Stream, on_delete=models.PROTECT, related_name="job")
    progress = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Per cent, where known.")
    error = models.TextField(blank=True, help_text="Why it did not succeed, in a sentence for a member.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    after = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="followers",
        help_text="Runs once that job succeeded; fails when it did not.",
    )
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="retries")
    time_limit = models.PositiveIntegerField(default=600, help_text="Seconds it may run.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    beat_at = models.DateTimeField(null=True, blank=True, help_text="Last sign of life of the process that runs it.")
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    # Not a foreign key: the row goes when it was delivered, and the job then waits for what its subject is busy with.
    delivery = models.BigIntegerField(null=True, editable=False, help_text="The queue row made for it last.")

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject"], condition=Q(state="running"), name="job_one_running_per_subject"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"], finished_at=None)
                | Q(state__in=["succeeded", "failed", "cancelled", "lost"], finished_at__isnull=False),
                name="job_finished_iff_final",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(started_at__isnull=False), name="job_running_started"
            ),
            models.CheckConstraint(condition=Q(progress=None) | Q(progress__lte=100), name="job_progress_percent"),
        ]
        indexes = [
            models.Index(fields=["subject", "-id"], name="job_by_subject"),
            models.Index(fields=["subject", "id"], condition=Q(state="queued"), name="job_queued_by_subject"),
            models.Index(fields=["state"], condition=Q(state__in=["queued", "running"]), name="job_active"),
            models.Index(
                fields=["requested_by"], condition=Q(state__in=["queued", "running"]), name="job_active_by_member"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE

    @property
    def can_retry(self) -> bool:
        return self.state in (self.State.FAILED, self.State.CANCELLED, self.State.LOST)
