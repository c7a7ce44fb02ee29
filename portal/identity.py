"""Whose a socket is: credentials from the handshake, and who holds them, for many at once.

A credential is `session:KEY` or `token:DIGEST`; the feed keeps it and asks again while the socket is open.
"""

from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from portal import tokens
from portal.models import User

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Credentials:
    """ASGI middleware: puts `scope["credential"]`, empty when there is none.

    A bearer token needs no Origin, since no page can make a browser send one; a cookie does.
    """

    def __init__(self, inner: Application) -> None:
        self.inner = inner
        self.from_pages: Application = AllowedHostsOriginValidator(inner)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin1").partition(" ")
        if scheme.lower() == "bearer":
            scope["credential"] = f"token:{tokens.digest_of(secret.strip()[: tokens.LONGEST + 1])}"
            return await self.inner(scope, receive, send)
        key = _session_key(headers.get(b"cookie", b"").decode("latin1"))
        scope["credential"] = f"session:{key}" if key else ""
        is_foreign = "*" in settings.ALLOWED_HOSTS and not _same_host(headers)
        application: Application = WebsocketDenier() if is_foreign else self.from_pages
        return await application(scope, receive, send)


def _same_host(headers: dict[bytes, bytes]) -> bool:
    """Whether a page of the very host and port opens the socket that it goes to. Where every name is allowed, the names
    themselves say nothing."""
    origin, host = (headers.get(name, b"").lower() for name in (b"origin", b"host"))
    return bool(host) and origin.partition(b"://")[2] == host


def _session_key(header: str) -> str:
    """The cookie's key, or nothing for what no key looks like.

    Many are looked up by one query, which a single key that the database refuses, such as one with a NUL (a quoted
    cookie can say `\\000`), would spoil for everybody in it.
    """
    try:
        morsel = SimpleCookie(header).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return morsel.value if morsel and morsel.value.isascii() and morsel.value.isalnum() else ""


def holders(credentials: set[str]) -> dict[str, User]:
    """The users behind those credentials that are still good, in three queries (`settings.JOBS_IDENTITY`)."""
    given: dict[str, dict[str, str]] = {"session": {}, "token": {}}
    for credential in credentials:
        kind, _, value = credential.partition(":")
        if kind in given:
            given[kind][value] = credential
    found = {given["token"][digest]: user for digest, user in tokens.holders(given["token"].keys()).items()}
    return found | {given["session"][key]: user for key, user in _session_holders(given["session"].keys()).items()}


def _session_holders(keys: Any) -> dict[str, User]:
    """Checks what Django's `get_user` does: the session lives, its user may enter, the password is the same."""
    sessions = Session.objects.filter(session_key__in=list(keys), expire_date__gt=timezone.now()) if keys else []
    data = {session.session_key: session.get_decoded() for session in sessions}
    users = User.objects.in_bulk({int(one[SESSION_KEY]) for one in data.values() if SESSION_KEY in one})
    holders = {}
    for key, one in data.items():
        user = users.get(int(one.get(SESSION_KEY, 0)))
        if user and user.may_enter and _same_password(user, one.get(HASH_SESSION_KEY, "")):
            holders[key] = user
    return holders


def _same_password(user: User, session_hash: str) -> bool:
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(session_hash, one) for one in hashes)
