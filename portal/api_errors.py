"""What the HTTP API says when it refuses: RFC 9457 problems, each with a sentence that says what to do."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, Throttled, ValidationError

from jobs.api_pages import FieldError
from jobs.full_disk import SENTENCE, is_full
from jobs.strict_json import Unreadable
from servers import errors as refusals
from servers.games import SettingsError, UnknownGame

logger = logging.getLogger(__name__)

CONFLICTS = (refusals.NameTaken, refusals.CannotTransfer, refusals.CannotRestore, refusals.CommandRefused)
ASKING = ("/command", "/players", "/kick", "/ban", "/say", "/level")  # paths whose answer comes from a game
SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "Why the request was refused (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence that says what to do."},
        "errors": {
            "description": "Sentences by field; a setting is named `settings.KEY`.",
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}


def responses(path: str, method: str, has_body: bool) -> dict[int, Any]:
    """The errors an operation may answer with, as OpenAPI describes them."""
    statuses = {401, 422, 429} | ({400, 413} if has_body else set()) | ({403, 404} if "{" in path else set())
    asks_the_game = path.endswith(ASKING)
    statuses |= {409} if method != "get" or asks_the_game else set()
    statuses |= {507} if method != "get" else set()
    statuses |= {403} if path == "/api/v1/installations" else set()
    statuses |= {504} if asks_the_game else set()
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


def problem(status: int, detail: str, errors: Mapping[str, list[str]] | None = None) -> HttpResponse:
    """A response of `application/problem+json`; `errors` has sentences by field."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    response = JsonResponse(
        body | ({"errors": errors} if errors else {}), status=status, content_type="application/problem+json"
    )
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _fields(errors: Mapping[str, list[str]]) -> HttpResponse:
    return problem(422, "Some values do not fit. See `errors`.", errors)


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    by_field: dict[str, list[str]] = {}
    for each in error.errors:
        # ("body", <argument>, field, …) or ("query", field): the name that the caller wrote begins after those.
        place = [str(part) for part in each["loc"]]
        name = ".".join(place[2:] if place[0] == "body" else place[1:]) or place[-1]
        by_field.setdefault(name, []).append(f"{each['msg']}.")
    return _fields(by_field)


def _refused(request: HttpRequest, error: refusals.ServerError) -> HttpResponse:
    if isinstance(error, refusals.ServerGone | refusals.LayerGone):
        return problem(404, str(error))
    if isinstance(error, refusals.CommandFailed):
        return problem(504, str(error))
    if isinstance(error, refusals.TooManyCommands):
        response = problem(429, str(error))
        response["Retry-After"] = "1"
        return response
    by_field = {error.field: [str(error)]} if error.field else None
    if by_field and not isinstance(error, CONFLICTS):
        return problem(422, str(error), by_field)
    return problem(409, str(error), by_field)


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, Unreadable):
        return problem(error.status_code, f"The body cannot be read. {error.__cause__}")
    return problem(error.status_code, f"{error.message.rstrip('.')}.")


def _throttled(request: HttpRequest, error: Throttled) -> HttpResponse:
    response = problem(429, f"Too many requests. Wait {error.wait} s, then go on more slowly.")
    response["Retry-After"] = str(error.wait)
    return response


def _no_database(request: HttpRequest, error: Exception) -> HttpResponse:
    if is_full(error):
        return problem(507, SENTENCE)
    logger.error("No database for %s %s: %s", request.method, request.path, " ".join(str(error).split()))
    response = problem(503, "The database does not answer just now. Try again in a moment.")
    response["Retry-After"] = "5"
    return response


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    if is_full(error):
        return problem(507, SENTENCE)
    logger.error("The API failed on %s %s", request.method, request.path, exc_info=error)
    return problem(500, "Something went wrong here, and was logged. Try again, or tell an administrator.")


def install(api: NinjaAPI) -> None:
    """Let `api` answer every error as a problem."""
    handlers: dict[type[Exception], Any] = {
        Http404: lambda request, error: problem(404, str(error) or "There is no such thing."),
        PermissionDenied: lambda request, error: problem(403, str(error) or "You may not do that."),
        AuthenticationError: lambda request, error: problem(
            401, "Send a token that is valid: `Authorization: Bearer l4m_…`."
        ),
        RequestDataTooBig: lambda request, error: problem(413, "The body is too large. Send less than 4 MB."),
        Throttled: _throttled,
        HttpError: _http_error,
        ValidationError: _invalid,
        FieldError: lambda request, error: _fields({error.field: [str(error)]}),
        SettingsError: lambda request, error: _fields(
            {f"settings.{key}": [text] for key, text in error.by_key.items()}
        ),
        refusals.ServerError: _refused,
        UnknownGame: lambda request, error: problem(409, str(error)),
        OperationalError: _no_database,
        InterfaceError: _no_database,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
