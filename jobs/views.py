"""The job page, its buttons, and the lines of any log as JSON: a range of them, and a search through all."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs import registry, searches, services, streams
from jobs.errors import Refused
from jobs.models import Job, Stream
from jobs.pages import done, member, members_only, refused
from jobs.policy import get_policy

MOST_LINES = 1000
SHORTEST_QUERY, LONGEST_QUERY = 1, 200


def job_for(request: HttpRequest, pk: int) -> Job:
    """The job, or 404 when there is none that this person may see."""
    job = Job.objects.select_related("stream", "requested_by", "after", "retry_of").filter(pk=pk).first()
    if job is None or not get_policy().may_view_job(request.user, job):
        raise Http404("There is no such job.")
    return job


def _context(request: HttpRequest, job: Job) -> dict[str, Any]:
    policy = get_policy()
    return {
        "job": job,
        "ahead": _ahead(job),
        "subject": get_policy().subject_link(request.user, job),
        "may_cancel": job.is_active and policy.may_cancel_job(request.user, job),
        "may_retry": job.can_retry and _is_retryable(job) and policy.may_retry_job(request.user, job),
        "retried_as": job.retries.order_by("pk").last(),
    }


def _ahead(job: Job) -> Job | None:
    """What has to end before a job that waits: of its subject, so whoever may see one may see both."""
    if job.state != Job.State.QUEUED:
        return None
    return Job.objects.active().about(job.subject).filter(pk__lt=job.pk).order_by("pk").first()


def _is_retryable(job: Job) -> bool:
    try:
        return registry.get(job.kind).retryable
    except registry.UnknownKind:
        return False


@members_only
@require_safe
def job_page(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/job.html", _context(request, job_for(request, pk)))


@members_only
@require_safe
def job_part(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/_job.html", _context(request, job_for(request, pk)))


@members_only
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_to_cancel(request, pk)
    to = reverse("jobs:job", args=[pk])
    if services.cancel(job=job, by=member(request)):
        return done(request, "Cancelling. It stops at its next safe point.", to=to, topics=[job.subject])
    return refused(request, "It has ended already.", to=to, topics=[job.subject])


@members_only
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_to_retry(request, pk)
    try:
        again = services.retry(job=job, by=member(request))
    except Refused as error:
        return refused(request, str(error), to=reverse("jobs:job", args=[pk]), topics=[job.subject])
    return redirect("jobs:job", again.pk)


def job_to_cancel(request: HttpRequest, pk: int) -> Job:
    job = job_for(request, pk)
    if not get_policy().may_cancel_job(request.user, job):
        raise PermissionDenied("You may see this job but not cancel it. Ask the server's owner or a moderator.")
    return job


def job_to_retry(request: HttpRequest, pk: int) -> Job:
    job = job_for(request, pk)
    if not get_policy().may_retry_job(request.user, job):
        raise PermissionDenied("You may see this job but not retry it: what it does takes a right that you lack.")
    return job


def stream_for(request: HttpRequest, pk: int) -> Stream:
    """The stream, or 404 when there is none that this person may read."""
    if not get_policy().may_view_stream(request.user, pk):
        raise Http404("There is no such log.")
    return Stream.objects.get(pk=pk)


@members_only
@require_safe
def lines(request: HttpRequest, pk: int) -> JsonResponse:
    """Lines after a number, at most `MOST_LINES`, and the first one that is still kept."""
    stream = stream_for(request, pk)
    after, limit = _number(request, "after", default=0), _number(request, "limit", default=MOST_LINES)
    found = streams.read(stream.pk, after=after, limit=min(limit, MOST_LINES))
    return JsonResponse({"first": stream.first_seq, "last": stream.last_seq, "lines": found})


@members_only
@require_safe
def search(request: HttpRequest, pk: int) -> JsonResponse:
    """Numbers of the newest lines that hold a text, in order; capital letters do not matter."""
    stream = stream_for(request, pk)
    query = request.GET.get("q", "").strip()
    if not SHORTEST_QUERY <= len(query) <= LONGEST_QUERY:
        return JsonResponse({"seqs": [], "more": False})
    try:
        found, more = searches.search(stream_id=stream.pk, text=query, user_id=member(request).pk)
    except searches.Refused as error:
        return JsonResponse({"problem": str(error)}, status=503)
    except OperationalError:  # the limit, or no database
        return JsonResponse({"problem": "The search took too long. Try again."}, status=503)
    return JsonResponse({"seqs": found, "more": more})


def _number(request: HttpRequest, name: str, *, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 16 else default
