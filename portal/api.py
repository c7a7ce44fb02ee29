"""The HTTP API, `/api/v1/`: who asks, how often they may, and the routers of the other apps under one description."""

import hashlib
import time
from collections.abc import Callable
from functools import cache, wraps
from http import HTTPStatus
from typing import Any

from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition
from ninja import NinjaAPI, Schema
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.responses import Response
from ninja.security import HttpBearer
from ninja.throttling import BaseThrottle

from jobs import strict_json
from jobs.api import router as jobs_router
from jobs.pages import member
from portal import api_errors, tokens
from portal.models import User
from servers.api import router as servers_router
from servers.api_panel import router as panel_router
from servers.change_api import router as changes_router
from servers.layer_api import router as layers_router
from servers.own_file_api import router as own_files_router

ROOT = "/api/v1/"
DESCRIPTION = """Everything a member can do in the browser, for programs. Make a token on the page *API tokens* and send
it as `Authorization: Bearer TOKEN`. Lists are pages: pass `next` as `cursor` until it is null. What takes time answers
202 with the number of a job to follow. Errors are `application/problem+json`."""
TAGS = {
    "servers": "Your game servers, and those shared with you.",
    "members": "Who else may do what with a server.",
    "games": "What servers can be created from.",
    "layers": "Files that go over a game's own, and the stacks of servers.",
    "files": "Config files of a server, written by hand, and what the server itself changed.",
    "jobs": "Work in progress and done.",
    "streams": "Numbered lines: logs of jobs and consoles of servers.",
    "me": "Whose token this is.",
}


class TokenAuth(HttpBearer):
    """Bearer tokens only: without cookies there is no cross-site request to forge."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = tokens.authenticate(token)
        if user:
            request.user = user
        return user


class UserLimit(BaseThrottle):
    """At most `most` requests a minute for a user, over all their tokens, in each web process."""

    def __init__(self, most: int) -> None:
        self.most = most

    def allow_request(self, request: HttpRequest) -> bool:
        counts = caches["process"]  # a count in the database would cost more than most requests
        key = f"api:{request.user.pk}:{int(time.time() // 60)}"
        counts.add(key, 0, timeout=120)
        return counts.incr(key) <= self.most

    def wait(self) -> int:
        """Whole seconds until the next minute begins."""
        return 60 - int(time.time()) % 60


class StrictParser(Parser):
    """Of bodies; what it says is in the answer (`api_errors`)."""

    def parse_body(self, request: HttpRequest) -> Any:
        return strict_json.loads(request.body)


class MeOut(Schema):
    """The user a token stands for."""

    username: str
    is_staff: bool


class Api(NinjaAPI):
    """Ninja's, whose description also tells of the errors each operation answers with."""

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        schema = super().get_openapi_schema(**options)
        schema["components"]["schemas"]["Problem"] = api_errors.SCHEMA
        for where, operations in schema["paths"].items():
            for method, operation in operations.items():
                operation["responses"] |= api_errors.responses(where, method, "requestBody" in operation)
        return schema


api = Api(
    title="left4me",
    version="1",
    description=DESCRIPTION,
    auth=TokenAuth(),
    parser=StrictParser(),
    throttle=[UserLimit(600)],
    urls_namespace="api",
    openapi_extra={"tags": [{"name": name, "description": text} for name, text in TAGS.items()]},
)
api_errors.install(api)
api.add_router("", servers_router)
api.add_router("", panel_router)
api.add_router("", layers_router)
api.add_router("", own_files_router)
api.add_router("", changes_router)
api.add_router("", jobs_router)


@api.get("/me", response=MeOut, tags=["me"], summary="Who you are")
def read_me(request: HttpRequest) -> User:
    """The user whose token this is."""
    return member(request)


@cache
def described() -> tuple[bytes, str]:
    """The description as it is sent, and its ETag.

    Making it costs more than any page and it is the same for everybody, wherever a request says that the portal is.
    """
    content = Response(api.get_openapi_schema(path_prefix=ROOT)).content
    return content, f'"{hashlib.sha256(content).hexdigest()}"'


@cache_control(public=True, max_age=300)
@condition(etag_func=lambda request: described()[1])
def description(request: HttpRequest) -> HttpResponse:
    """`openapi.json`, in place of ninja's."""
    return HttpResponse(described()[0], content_type="application/json")


def unknown(request: HttpRequest, rest: str) -> HttpResponse:
    """An address the API does not have."""
    return api_errors.problem(404, "There is nothing here. `/api/v1/openapi.json` lists all there is.")


def with_problem(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view of ninja's, which answers a method it does not know with a plain sentence, asking no error handler."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = view(request, *args, **kwargs)
        if answer.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return answer
        allowed = ", ".join(sorted(answer["Allow"].split(", ")))
        refusal = api_errors.problem(405, f"{request.method} is not for this address. It takes {allowed}.")
        refusal["Allow"] = allowed
        return refusal

    return inner


patterns, app, namespace = api.urls
for pattern in patterns:
    pattern.callback = with_problem(pattern.callback)  # type: ignore[arg-type]
urlpatterns = [
    path("openapi.json", description),
    path("", (patterns, app, namespace)),
    path("<path:rest>", unknown),
]
