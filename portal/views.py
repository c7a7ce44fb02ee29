"""Pages about people: the invitation that lets one in and the tokens of their programs. allauth has the rest."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.adapter import get_adapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jobs.pages import member, members_only
from portal import api_errors, devices, services, tokens
from portal.forms import InvitationForm, SteamIdForm, TokenForm
from portal.models import ApiToken
from servers import games
from servers.errors import FieldsChanged


def secret_address(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For pages whose address is a secret: what they load or lead to is not told it, and so no log of that keeps it.

    Not `no-referrer`, with which browsers post with the origin “null”.
    """

    @wraps(view)
    def page(*args: Any, **kwargs: Any) -> HttpResponse:
        response = view(*args, **kwargs)
        response.headers["Referrer-Policy"] = "strict-origin"
        return response

    return page


@secret_address
@never_cache
@sensitive_post_parameters("password1", "password2")
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """Make an account from an invitation's link and sign its owner in."""
    page = "portal/invitation.html"
    if request.user.is_authenticated:
        problem = f"You are signed in as {request.user}. Sign out first to make another account."
        return render(request, page, {"problem": problem}, status=409)
    form = InvitationForm(request.POST or None)
    try:
        services.open_invitation(secret=secret)
        if form.is_valid():
            user = services.accept_invitation(
                secret=secret, username=form.cleaned_data["username"], password=form.cleaned_data["password1"]
            )
            get_adapter(request).login(request, user)
            messages.success(request, f"Welcome, {user}.")
            response = redirect("/")
            devices.remember(response, user)
            return response
    except services.InvitationError as error:
        return render(request, page, {"problem": str(error)}, status=410)
    except services.NameTaken as error:
        form.add_error("username", str(error))
    return render(request, page, {"form": form}, status=422 if form.is_bound else 200)


@members_only
@require_http_methods(["GET", "POST"])
def steam_id(request: HttpRequest) -> HttpResponse:
    """Which Steam account is the member's."""
    user, status = member(request), 422
    form = SteamIdForm(request.POST or None, initial={"steam_id": user.steam_id})
    if request.method == "POST" and form.is_valid():
        try:
            if form.changed_data:
                given = form.cleaned_data["steam_id"]
                services.set_steam_id(user=user, steam_id=given, seen=form.seen("steam_id"))
        except FieldsChanged as error:
            form.tell(error.names)
            status = 409
        else:
            messages.success(request, "Saved. Servers take it up at their next start.")
            return redirect("steam_id")
    asking = sorted(game.name for game in games.all_games().values() if game.admins)
    context = {"form": form, "games": asking}
    return render(request, "portal/steam_id.html", context, status=status if form.errors else 200)


@members_only
@require_http_methods(["GET", "POST"])
def api_tokens(request: HttpRequest) -> HttpResponse:
    """List a member's tokens and make one. Its secret is in this one response, never in a message or a session."""
    user, secret = member(request), ""
    form = TokenForm(request.POST or None)
    if form.is_valid():
        try:
            _, secret = tokens.create_token(user=user, name=form.cleaned_data["name"])
            form = TokenForm()
        except tokens.TokenError as error:
            form.add_error("name", str(error))
    live = tokens.live(user)
    return render(
        request,
        "portal/tokens.html",
        {"form": form, "tokens": live, "secret": secret},
        status=422 if form.errors else 200,
    )


@members_only
@require_POST
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    """Revoke one of the member's own tokens."""
    token = get_object_or_404(ApiToken, pk=pk, user=member(request))
    if tokens.revoke_token(token=token):
        messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("api_tokens")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that nothing has, also below that of the API."""
    if request.path.startswith("/api/"):
        return api_errors.problem(404, "There is no such thing.")
    return defaults.page_not_found(request, exception)
