"""How pages answer: whole pages without scripts, and short answers to htmx. Views of every app use it."""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache

if TYPE_CHECKING:
    from portal.models import User

View = Callable[..., HttpResponse]


def member(request: HttpRequest) -> "User":
    """Who asks; every caller is behind `members_only`."""
    return cast("User", request.user)


def is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def wants_page(request: HttpRequest) -> bool:
    """Whether a person navigates; else a script fetches a part of a page or data."""
    return not is_htmx(request) and "application/json" not in request.headers.get("Accept", "")


def members_only(view: View) -> View:
    """Sends whoever is not signed in (or suspended, which is the same) to the sign-in page; scripts get a 401."""

    @never_cache
    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if wants_page(request):
            return redirect_to_login(_page_asked_for(request))
        # The page loads itself again, and so goes to the sign-in page, unless that would lose what was typed.
        return HttpResponse(status=401)

    return inner


def _page_asked_for(request: HttpRequest) -> str:
    """Where to lead after signing in: of what was sent, the page with the form, to which a browser puts it back."""
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    page = urlsplit(request.headers.get("Referer", ""))
    return urlunsplit(("", "", page.path, page.query, "")) if page.netloc == request.get_host() else "/"


def page_of(find: Callable[["User", str], Any], *, key: str) -> Callable[[View], View]:
    """Give a view what `key` of its URL names; `find` raises `Http404` or `PermissionDenied` for who asks."""

    def wrap(view: View) -> View:
        @members_only
        @wraps(view)
        def inner(request: HttpRequest, **named: Any) -> HttpResponse:
            return view(request, find(member(request), named.pop(key)), **named)

        return inner

    return wrap


def done(request: HttpRequest, text: str, *, to: str, topics: Iterable[str] = ()) -> HttpResponse:
    """A write succeeded: say so, and have the page fetch again what shows `topics`; without scripts go to `to`."""
    if is_htmx(request):
        return _triggers(204, toast={"text": text, "kind": "info"}, changed={"topics": list(topics)})
    messages.success(request, text)
    return redirect(to)


def refused(
    request: HttpRequest, text: str, *, to: str, topics: Iterable[str] = (), status: int = 409, kind: str = "error"
) -> HttpResponse:
    """A write was refused for the reason that `text` says; nothing changed, but what was shown may have been old.
    `kind`: “info” where it was done already."""
    if is_htmx(request):
        return _triggers(status, toast={"text": text, "kind": kind}, changed={"topics": list(topics)})
    (messages.error if kind == "error" else messages.info)(request, text)
    return redirect(to)


def _triggers(status: int, **events: Any) -> HttpResponse:
    return HttpResponse(status=status, headers={"HX-Trigger": json.dumps(events)})
