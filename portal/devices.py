"""Devices that a member has signed in from, each told by a signed cookie: guessing elsewhere locks none of them out."""

import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from portal.models import User

SALT = "portal.devices"
KEPT_SECONDS = 365 * 86400


def _cookie(pk: int) -> str:
    """Its name has the member's number in it: of those who share a device each has their own."""
    return f"{'__Host-' if settings.SESSION_COOKIE_SECURE else ''}device-{pk}"


def remember(response: HttpResponseBase, user: User) -> None:
    """Who gets this response has just shown the user's password, or become the user."""
    value = signing.dumps([user.pk, secrets.token_hex(8)], salt=SALT)
    response.set_cookie(
        _cookie(user.pk), value, max_age=KEPT_SECONDS, secure=settings.SESSION_COOKIE_SECURE, httponly=True,
        samesite="Lax",
    )  # fmt: skip


def known(request: HttpRequest, username: str) -> str:
    """The name of the device if that member signed in from it within a year, else nothing."""
    pk = User.objects.filter(username__iexact=username).values_list("pk", flat=True).first()
    try:
        owner, device = signing.loads(request.COOKIES.get(_cookie(pk or 0), ""), salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        return ""
    return str(device) if owner == pk else ""
