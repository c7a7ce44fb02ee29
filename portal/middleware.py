"""Says to browsers what a page may load and run: only what this portal serves, and nothing written into the page."""

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

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
