"""Who gets in: the authentication backend and allauth's adapter, which every sign-in, sign-out and session passes."""

import hashlib

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from django.http import HttpRequest

from jobs import events
from portal.models import User


def session_topic(session_key: str) -> str:
    """The topic that says a session has ended; a digest, since the key itself would let a listener in."""
    return f"access:session:{hashlib.sha256(session_key.encode()).hexdigest()}"


class PortalBackend(AuthenticationBackend):
    """Name (in any case) and password; whoever may not enter neither signs in nor keeps a session."""

    def user_can_authenticate(self, user: User) -> bool:  # type: ignore[override]
        return user.may_enter


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come by invitation only, and open sockets hear when a session ends."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def logout(self, request: HttpRequest) -> None:
        key = request.session.session_key
        super().logout(request)
        if key:
            events.publish(session_topic(key))

    def set_password(self, user: User, password: str) -> None:  # type: ignore[override]
        """Other sessions end with the old password; their sockets look again at once."""
        super().set_password(user, password)
        events.publish(f"access:user:{user.pk}")
