"""Jobs and streams for moderators: to look at, to cancel and to retry."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from jobs import services
from jobs.admin_base import Confirmed, ReadOnlyAdmin
from jobs.errors import Refused
from jobs.models import Job, Stream
from jobs.pages import member

LABELS = {"running": "info", "succeeded": "success", "failed": "danger", "lost": "danger", "cancelled": "warning"}


class NotCancellable(Exception):
    """The job has ended, or is ending."""


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Each job links to its page, where its log is followed live."""

    list_display = ("title", "state_label", "kind", "node", "requested_by", "created_at", "took", "live")
    list_filter = ("state", "node", "kind")
    list_select_related = ("requested_by",)
    search_fields = ("title", "subject")
    search_help_text = "Words of the title, or a subject such as “server:12”"
    actions = ("cancel", "retry")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        return super().get_queryset(request).select_related("requested_by", "after", "retry_of", "stream")

    def view_on_site(self, job: Job) -> str:
        return reverse("jobs:job", args=[job.pk])

    @display(description="State", ordering="state", label=LABELS)
    def state_label(self, job: Job) -> str:
        return job.state

    @admin.display(description="Took")
    def took(self, job: Job) -> timedelta | None:
        if not (job.started_at and job.finished_at):
            return None
        return timedelta(seconds=round((job.finished_at - job.started_at).total_seconds(), 1))

    @admin.display(description="Log")
    def live(self, job: Job) -> str:
        return format_html('<a class="underline" href="{}">Follow</a>', self.view_on_site(job))

    @Confirmed(
        "Cancel", "A queued job ends at once. A running one is asked to stop, then stopped hard.", (NotCancellable,)
    )
    def cancel(self, request: HttpRequest, job: Job) -> str:
        if not services.cancel(job=job, by=member(request)):
            raise NotCancellable(f"“{job}” has ended already, or was asked to stop before.")
        return f"“{job}” is cancelled."

    @Confirmed("Retry", "Each is done again by a new job.", (Refused,))
    def retry(self, request: HttpRequest, job: Job) -> str:
        return f"“{job}” runs again as job {services.retry(job=job, by=member(request)).pk}."


@admin.register(Stream)
class StreamAdmin(ReadOnlyAdmin):
    """Logs of jobs and consoles of servers. Their lines are read on their pages, or downloaded."""

    list_display = ("__str__", "belongs_to", "last_seq", "kept", "created_at", "download")
    list_select_related = ("job", "server")
    ordering = ("-pk",)

    @admin.display(description="Of")
    def belongs_to(self, stream: Stream) -> str:
        owner: Any = getattr(stream, "job", None) or getattr(stream, "server", None)
        return f"{owner._meta.verbose_name} “{owner}”" if owner else ""

    @admin.display(description="Lines kept")
    def kept(self, stream: Stream) -> int:
        return stream.last_seq - stream.first_seq + 1

    @admin.display(description="Text")
    def download(self, stream: Stream) -> str:
        return format_html('<a class="underline" href="{}">Download</a>', reverse("jobs:download", args=[stream.pk]))
