"""What pages, scripts and uploads are answered when the disk is full: 507 and what to do. `api_errors` has the API."""

import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin
from django.views import defaults

from jobs.full_disk import SENTENCE, is_full
from jobs.pages import is_htmx, refused, wants_page


class FullDisk(MiddlewareMixin):
    """Answers for a view that a full disk stopped."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _answer(request) if is_full(error) else None


def server_error(request: HttpRequest) -> HttpResponse:
    """For what fails around the views, such as storing the session."""
    return _answer(request) if is_full(sys.exc_info()[1]) else defaults.server_error(request)


def _answer(request: HttpRequest) -> HttpResponse:
    if is_htmx(request):
        return refused(request, SENTENCE, to="/", status=507)
    if not wants_page(request):
        return JsonResponse({"problem": SENTENCE}, status=507)
    return render(None, "507.html", {"sentence": SENTENCE}, status=507)
