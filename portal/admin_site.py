"""The admin site: django-unfold's look, entered and left by the same doors as the rest of the portal."""

from typing import Any

from allauth.account.adapter import get_adapter
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from unfold.sites import UnfoldAdminSite


class PortalAdminSite(UnfoldAdminSite):
    """Django's own sign-in knows neither rate limits nor suspension, and its sign-out tells no socket."""

    site_header = site_title = "left4me"
    index_title = "Moderation"

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.user.is_authenticated:
            raise PermissionDenied("Moderators only.")
        return redirect_to_login(request.GET.get("next", request.get_full_path()))

    @method_decorator(require_POST)
    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        get_adapter(request).logout(request)
        return redirect("/")

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect("account_change_password")
