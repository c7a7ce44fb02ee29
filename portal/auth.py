"""Who gets in: the authentication backend and allauth's adapter, which every sign-in, sign-out and session passes."""

import hashlib
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.auth_backends import AuthenticationBackend
from allauth.core.internal import ratelimit
from django.contrib import messages
from django.http import HttpRequest, HttpResponse

from jobs import events
from portal import devices
from portal.models import User

# Wrong passwords: of all at an address together (a LAN party has one), and of one name there; of a known device.
ELSEWHERE, KNOWN_DEVICE = "100/5m/ip,5/5m/key", "30/5m/key"


def session_topic(session_key: str) -> str:
    """The topic that says a session has ended; a digest, since the key itself would let a listener in."""
    return f"access:session:{hashlib.sha256(session_key.encode()).hexdigest()}"


class PortalBackend(AuthenticationBackend):
    """Name (in any case) and password; whoever may not enter neither signs in nor keeps a session."""

    def user_can_authenticate(self, user: User) -> bool:  # type: ignore[override]
        return user.may_enter


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come by invitation only, guessing is slowed down, and open sockets hear when a session ends."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuse a try after too many wrong ones, counted by name *and* address, and for a device that the member has
        signed in from by that alone: nobody else can use up an owner's tries."""
        name = str(credentials.get("username", "")).lower()
        device = devices.known(request, name)
        # As allauth does it, which gives a right try back.
        self._login_failed_rl_usage = ratelimit.consume(
            request, app="allauth.account", action="login_failed",
            config={"login_failed": KNOWN_DEVICE if device else ELSEWHERE},
            key=f"device:{device}" if device else f"{ratelimit.get_ip(request)}:{name}",
        )  # fmt: skip
        if not self._login_failed_rl_usage:
            raise self.validation_error("too_many_login_attempts")

    def post_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse:  # type: ignore[override]
        response = super().post_login(request, user, **more)
        devices.remember(response, user)
        return response

    def logout(self, request: HttpRequest) -> None:
        key, user = request.session.session_key, request.user
        super().logout(request)
        if user.is_authenticated:  # the tag has the browser forget what it keeps of them (js/drafts.js)
            messages.success(request, "You have signed out.", extra_tags=f"signed-out-{user.pk}")
        if key:
            events.publish(session_topic(key))

    def set_password(self, user: User, password: str) -> None:  # type: ignore[override]
        """Other sessions end with the old password; their sockets look again at once."""
        super().set_password(user, password)
        events.publish(f"access:user:{user.pk}")
