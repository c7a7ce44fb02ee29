"""Who gets in: the authentication backend and allauth's adapter."""

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.backends import ModelBackend


class PortalBackend(ModelBackend):
    """Name and password; suspended users neither sign in nor keep a session."""

    def user_can_authenticate(self, user):  # type: ignore[no-untyped-def]
        return super().user_can_authenticate(user) and not user.is_suspended


class AccountAdapter(DefaultAccountAdapter):
    """Accounts come by invitation only."""

    def is_open_for_signup(self, request):  # type: ignore[no-untyped-def]
        return False
