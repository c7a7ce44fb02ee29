"""What every request passes: nothing that the database could not hold comes in, and browsers are told what a page may
load and run: only what this portal serves, and nothing written into the page."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import render_to_string
from django.utils.deprecation import MiddlewareMixin

from portal import api_errors

_SHARED = "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
STRICT = f"default-src 'self'; {_SHARED}"
# The admin's theme writes styles and scripts into its pages and evaluates Alpine expressions; the API's
# documentation page starts its viewer with a script in the page.
LOOSE = (
    f"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; {_SHARED}"
)
LOOSE_NAMESPACES = {"admin"}
LOOSE_VIEWS = {"openapi-view"}


class ContentSecurityPolicy(MiddlewareMixin):
    """Adds the header to every page of the portal."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        match = request.resolver_match
        policy = STRICT
        if match:
            if LOOSE_NAMESPACES & set(match.namespaces) or match.url_name in LOOSE_VIEWS:
                policy = LOOSE
            # Some browsers do not count websockets of the same host as 'self'.
            policy += f"; connect-src 'self' {'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
        response.headers.setdefault("Content-Security-Policy", policy)
        return response


class RefuseNul(MiddlewareMixin):
    """Refuses a NUL in an address, a cookie or a form: no text of ours has one, and the database takes none.

    It stands before whatever reads a cookie. In the HTTP API's bodies `jobs.strict_json` sees to it.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        values = [request.path, *request.COOKIES.values(), *_texts(request.GET)]
        return _refusal(request) if any("\0" in value for value in values) else None

    def process_view(self, request: HttpRequest, view: Any, args: Any, named: Any) -> HttpResponse | None:
        if request.method != "POST" or getattr(view, "csrf_exempt", False):
            return None
        return _refusal(request) if any("\0" in value for value in _texts(request.POST)) else None


def _texts(query: QueryDict) -> Iterator[str]:
    for name, values in query.lists():
        yield name
        yield from map(str, values)


def _refusal(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return api_errors.problem(400, "There is a NUL character in it. Take it out.")
    return HttpResponse(render_to_string("400.html"), status=400)
