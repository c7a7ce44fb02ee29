"""The URL map of the whole site."""

from allauth.account import views as account
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from portal import views

# Of allauth's pages only those that members without e-mail addresses use.
accounts = [
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/", account.password_change, name="account_change_password"),
    path("accounts/steam-id/", views.steam_id, name="steam_id"),
    path("accounts/tokens/", views.api_tokens, name="api_tokens"),
    path("accounts/tokens/<int:pk>/revoke/", views.revoke_token, name="api_token_revoke"),
    path("invitations/<str:secret>/", views.invitation, name="invitation"),
]
handler404 = "portal.views.not_found"
handler500 = "portal.outages.server_error"
urlpatterns = [
    *accounts,
    path("", include("servers.urls")),
    path("", include("jobs.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("portal.api")),
    path("", include("portal.health")),
    # Asked for by browsers on pages that name no icon, such as the API's documentation.
    path("favicon.ico", RedirectView.as_view(url=static("icons/favicon.svg"))),
]
