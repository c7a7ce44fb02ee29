"""Uploading in pieces, for scripts: begin, send each piece where the last one ended, finish with the checksum.

POST /uploads/ {"name", "size"}      → 201 {"key", "offset": 0, "piece": BYTES}
GET /uploads/KEY/                    → {"offset"}: where to go on after an interruption
PUT /uploads/KEY/?offset=N  (bytes)  → {"offset"}; 409 with a sentence when the piece does not fit there
POST /uploads/KEY/ {"sha256"}        → 204
DELETE /uploads/KEY/                 → 204: given up; a page posts the field “give-up” instead

Of one member two pieces may be on their way at once. 503: send it again after the seconds of Retry-After.
"""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from jobs import strict_json
from jobs.pages import done, member, members_only
from servers import services
from servers.errors import ServerError
from servers.models import Upload
from servers.services.uploads import PIECE

MOST_JSON = 4096


@members_only
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    given = _json(request)
    name, size = given.get("name"), given.get("size")
    if not isinstance(name, str) or type(size) is not int or len(name) > 255:
        return _problem("Give a name and a size.", 400)
    try:
        upload = services.begin_upload(by=member(request), filename=name, size=size)
    except ServerError as error:
        return _problem(str(error), 409)
    return JsonResponse({"key": str(upload.pk), "offset": 0, "piece": PIECE}, status=201)


@members_only
@require_http_methods(["GET", "PUT", "POST", "DELETE"])
def upload(request: HttpRequest, key: UUID) -> HttpResponse:
    target = get_object_or_404(Upload, pk=key, owner=member(request))
    if request.method == "DELETE" or "give-up" in request.POST:
        services.discard_upload(key=str(target.pk), owner=target.owner_id)
        if request.method == "DELETE":
            return HttpResponse(status=204)
        text = f"{target.filename} is given up."
        return done(request, text, to=reverse("servers:layers"), topics=[f"user:{target.owner_id}"])
    try:
        if request.method == "PUT":
            offset = request.GET.get("offset", "")
            piece = request.read(PIECE + 1)
            number = int(offset) if offset.isdecimal() and len(offset) < 20 else -1
            return JsonResponse({"offset": services.continue_upload(upload=target, offset=number, piece=piece)})
        if request.method == "POST":
            services.finish_upload(upload=target, sha256=str(_json(request).get("sha256", "")))
            return HttpResponse(status=204)
    except ServerError as error:
        return _problem(str(error), 409)
    return JsonResponse({"offset": target.received})


def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        found = strict_json.loads(request.read(MOST_JSON))
    except strict_json.Unreadable:
        return {}
    return found if isinstance(found, dict) else {}


def _problem(text: str, status: int) -> HttpResponse:
    return JsonResponse({"problem": text}, status=status)
