"""The engine's part of the HTTP API: jobs and lines of streams. What one may not view is told not to be there."""

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from jobs import services, streams
from jobs.api_pages import Number
from jobs.models import Job
from jobs.pages import member
from jobs.policy import MAX_ID
from jobs.views import job_for, job_to_cancel, job_to_retry, stream_for

router = Router()


class JobOut(Schema):
    """A piece of work and how it fares."""

    id: int
    kind: str
    title: str
    state: Job.State
    stream: int = Field(alias="stream_id", description="Its log: read it at `/streams/{id}/lines`.")
    error: str = Field(description="Why it did not succeed; empty otherwise.")
    progress: int | None = Field(description="Per cent, where known.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobRef(Schema):
    """The job that does what was asked; follow it at `/jobs/{id}`."""

    job: int


class Lines(Schema):
    """Lines of a stream in order. Numbers have no holes, except where retention has removed the oldest lines."""

    lines: list[tuple[int, int, str]] = Field(description="Number, milliseconds since the epoch, text.")
    next: int = Field(description="Pass it as `after` to read on; the same as before when there was nothing new.")


@router.get("/jobs/{id}", response=JobOut, tags=["jobs"], summary="Read a job")
def read_job(request: HttpRequest, id: Number) -> Job:
    """A job of a server one may view, or of an installation."""
    return job_for(request, id)


@router.post("/jobs/{id}/cancel", response={202: JobRef}, tags=["jobs"], summary="Cancel a job")
def cancel_job(request: HttpRequest, id: Number) -> Status[dict[str, int]]:
    """A queued job ends at once; a running one is asked to stop, then stopped hard. A stop that a moderator asked for
    is for moderators to cancel."""
    job = job_to_cancel(request, id)
    if not services.cancel(job=job, by=member(request)):
        raise HttpError(409, "This job has ended already.")
    return Status(202, {"job": job.pk})


@router.post("/jobs/{id}/retry", response={202: JobRef}, tags=["jobs"], summary="Retry a job")
def retry_job(request: HttpRequest, id: Number) -> Status[dict[str, int]]:
    """A new job does again what one that failed, was cancelled or was lost should have done. Takes the same
    right."""
    return Status(202, {"job": services.retry(job=job_to_retry(request, id), by=member(request)).pk})


@router.get("/streams/{id}/lines", response=Lines, tags=["streams"], summary="Read lines")
def read_lines(
    request: HttpRequest,
    id: Number,
    after: Annotated[int, Query(0, ge=0, le=MAX_ID, description="Only lines with a larger number.")],
    limit: Annotated[int, Query(500, ge=1, le=1000, description="Lines at most.")],
) -> dict[str, object]:
    """Lines of a job's log or a server's console. Poll with `next`, or follow the websocket `/ws/streams/{id}/`."""
    lines = streams.read(stream_for(request, id).pk, after=after, limit=limit)
    return {"lines": lines, "next": lines[-1][0] if lines else after}
