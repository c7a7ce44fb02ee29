"""API tokens: what a program of a member shows instead of a password. The HTTP API and the sockets both ask here."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from jobs import events
from portal.models import ApiToken, User

PREFIX = "l4m_"  # lets secret scanners and people tell what a leaked string is
LONGEST = len(PREFIX) + len(secrets.token_urlsafe(32))
MOST_PER_USER = 20
USE_NOTED_EVERY = timedelta(minutes=1)


class TokenError(Exception):
    """A token cannot be made; the text says why and what to do."""


def digest_of(secret: str) -> str:
    """SHA-256, hex. Enough for secrets of 256 random bits, which nobody can guess through."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def authenticate(token: str) -> User | None:
    """The user a bearer token stands for, or None when it is unknown, revoked, or its owner may not enter.

    Every token costs one hash and one look-up by digest, so timing tells nothing about stored ones.
    `last_used_at` is written at most once a minute.
    """
    found = (
        ApiToken.objects.select_related("user").filter(digest=digest_of(token[: LONGEST + 1]), revoked_at=None).first()
    )
    if found is None or not found.user.may_enter:
        return None
    _note_use(found)
    return found.user


def holders(digests: Collection[str]) -> dict[str, User]:
    """The users behind those digests whose token and owner are still good: `authenticate` for many sockets at once."""
    live = ApiToken.objects.select_related("user").filter(digest__in=list(digests), revoked_at=None) if digests else []
    good = [token for token in live if token.user.may_enter]
    _note_use(*good)
    return {token.digest: token.user for token in good}


def _note_use(*used: ApiToken) -> None:
    now = timezone.now()
    if old := [one.pk for one in used if not one.last_used_at or one.last_used_at < now - USE_NOTED_EVERY]:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        ApiToken.objects.filter(stale, pk__in=old).update(last_used_at=now)


def live(user: User) -> QuerySet[ApiToken]:
    """The user's tokens that are not revoked."""
    return ApiToken.objects.filter(user=user, revoked_at=None)


def create_token(*, user: User, name: str) -> tuple[ApiToken, str]:
    """Make a token; returns it and its secret, which is kept nowhere. Raises `TokenError`."""
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        with transaction.atomic():
            # Two requests at once must not pass the limit together, nor one that a new password has overtaken.
            fresh = User.objects.select_for_update(no_key=True).get(pk=user.pk)
            if fresh.get_session_auth_hash() != user.get_session_auth_hash():
                raise TokenError("You were signed out meanwhile. Sign in again first.")
            if live(user).count() >= MOST_PER_USER:
                raise TokenError(f"You have {MOST_PER_USER} tokens, which is the most. Revoke one you no longer use.")
            made = ApiToken.objects.create(
                user=user, name=name, digest=digest_of(secret), hint=secret[: len(PREFIX) + 4]
            )
    except IntegrityError as error:
        raise TokenError(f"You already have a token named “{name}”. Choose another name.") from error
    return made, secret


def revoke_token(*, token: ApiToken) -> bool:
    """Refuse the token from now on, also to sockets that are open by it; whether it was still live."""
    with transaction.atomic():
        events.publish(f"access:user:{token.user_id}")
        return bool(ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now()))


def revoke_tokens(*, user: User) -> int:
    """Refuse all of the user's tokens from now on, also to sockets that are open by them; returns how many."""
    with transaction.atomic():
        events.publish(f"access:user:{user.pk}")
        return live(user).update(revoked_at=timezone.now())
