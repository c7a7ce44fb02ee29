"""What pages, scripts and uploads are answered when the disk is full or the database away. `api_errors` has the API."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin
from django.views import defaults

from jobs.full_disk import SENTENCE, is_full
from jobs.pages import is_htmx, refused, wants_page


class FullDisk(MiddlewareMixin):
    """Answers for a view that a full disk stopped."""

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _answer(request) if is_full(error) else None


def server_error(request: HttpRequest) -> HttpResponse:
    """Something broke: the disk is full around the views too, there is no database for a moment, or it is our fault."""
    error = sys.exc_info()[1]
    if is_full(error):
        return _answer(request)
    if not isinstance(error, OperationalError | InterfaceError):
        return defaults.server_error(request)
    response = HttpResponse(render_to_string("503.html"), status=503)
    response.headers["Retry-After"] = "5"
    return response


def _answer(request: HttpRequest) -> HttpResponse:
    if is_htmx(request):
        return refused(request, SENTENCE, to="/", status=507)
    if not wants_page(request):
        return JsonResponse({"problem": SENTENCE}, status=507)
    return render(None, "507.html", {"sentence": SENTENCE}, status=507)
