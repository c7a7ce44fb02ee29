"""Whose a socket is: credentials from the handshake, and who holds them, for many at once.

A credential is `session:KEY` or `token:DIGEST`; the feed keeps it and asks again while the socket is open.
"""

from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from portal import tokens
from portal.models import User

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Credentials:
    """ASGI middleware: puts `scope["credential"]`, empty when there is none.

    A bearer token needs no Origin, since no page can make a browser send one; a cookie does: that of this very portal.
    Members' games may serve pages at another port of the same host, where browsers send the same cookies.
    """

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scheme, _, secret = headers.get(b"authorization", b"").decode("latin1").partition(" ")
        if scheme.lower() == "bearer":
            scope["credential"] = f"token:{tokens.digest_of(secret.strip()[: tokens.LONGEST + 1])}"
            return await self.inner(scope, receive, send)
        key = _session_key(headers.get(b"cookie", b"").decode("latin1"))
        scope["credential"] = f"session:{key}" if key else ""
        application: Application = self.inner if _from_our_page(scope, headers) else WebsocketDenier()
        return await application(scope, receive, send)


def _from_our_page(scope: dict[str, Any], headers: dict[bytes, bytes]) -> bool:
    """As Django judges a form: the page's scheme, name and port are those asked for, or one of `LEFT4ME_ORIGINS`."""
    name, _ = split_domain_port(headers.get(b"host", b"").decode("latin1"))
    if not name or not validate_host(name, settings.ALLOWED_HOSTS):
        return False
    proxied = settings.HTTPS and headers.get(b"x-forwarded-proto") == b"https"
    secure = proxied or scope.get("scheme") == "wss"
    is_trusted = headers.get(b"origin", b"").decode("latin1") in settings.CSRF_TRUSTED_ORIGINS
    return is_trusted or _same_host(headers, b"https" if secure else b"http")


def _same_host(headers: dict[bytes, bytes], scheme: bytes = b"http") -> bool:
    origin, host = (headers.get(name, b"").lower() for name in (b"origin", b"host"))
    return bool(host) and origin == scheme + b"://" + host


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
