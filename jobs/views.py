"""The job page, its buttons, and the lines of any log as JSON: a range of them, and a search through all."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs import registry, services, streams
from jobs.models import Job, Line, Stream
from jobs.pages import done, member, members_only, refused
from jobs.policy import get_policy

MOST_LINES = 1000
MOST_FOUND = 10_000
SHORTEST_QUERY, LONGEST_QUERY = 1, 200
SEARCH_MS = 5000


def job_for(request: HttpRequest, pk: int) -> Job:
    """The job, or 404 when there is none that this person may see."""
    job = Job.objects.select_related("stream", "requested_by", "after", "retry_of").filter(pk=pk).first()
    if job is None or not get_policy().may_view_job(request.user, job):
        raise Http404("There is no such job.")
    return job


def _context(request: HttpRequest, job: Job) -> dict[str, Any]:
    may_control = get_policy().may_control_job(request.user, job)
    return {
        "job": job,
        "subject": get_policy().subject_link(request.user, job),
        "may_cancel": may_control and job.is_active,
        "may_retry": may_control and job.can_retry and _is_retryable(job),
        "retried_as": job.retries.order_by("pk").last(),
    }


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
    job = controlled_job(request, pk)
    to = reverse("jobs:job", args=[pk])
    if services.cancel(job=job, by=member(request)):
        return done(request, "Cancelling. It stops at its next safe point.", to=to, topics=[job.subject])
    return refused(request, "It has ended already.", to=to, topics=[job.subject])


@members_only
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    job = controlled_job(request, pk)
    try:
        again = services.retry(job=job, by=member(request))
    except services.NotRetryable as error:
        return refused(request, str(error), to=reverse("jobs:job", args=[pk]), topics=[job.subject])
    return redirect("jobs:job", again.pk)


def controlled_job(request: HttpRequest, pk: int) -> Job:
    job = job_for(request, pk)
    if not get_policy().may_control_job(request.user, job):
        raise PermissionDenied("You may see this job but not cancel or retry it. Ask the server's owner.")
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
    query = request.GET.get("q", "").replace("\0", "").strip()
    if not SHORTEST_QUERY <= len(query) <= LONGEST_QUERY:
        return JsonResponse({"seqs": [], "more": False})
    holding = Line.objects.filter(stream=stream, text__icontains=query)
    try:
        found = _bounded(holding.order_by("-seq").values_list("seq", flat=True)[: MOST_FOUND + 1])
    except OperationalError:  # the limit, or no database
        return JsonResponse({"problem": "The search took too long. Try again."}, status=503)
    return JsonResponse({"seqs": found[:MOST_FOUND][::-1], "more": len(found) > MOST_FOUND})


def _bounded(found: "QuerySet[Line, int]") -> list[int]:
    """A search reads every line of a stream, from the newest until it has found enough, and not for long.

    Left to itself the planner reads the lines of all streams and sorts: it cannot know how many hold a text.
    """
    limits = {"statement_timeout": str(SEARCH_MS), "max_parallel_workers_per_gather": "0"}
    limits |= {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}
    with transaction.atomic():
        with connection.cursor() as db:
            for name, value in limits.items():
                db.execute("SELECT set_config(%s, %s, true)", [name, value])
        return list(found)


def _number(request: HttpRequest, name: str, *, default: int) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 16 else default
