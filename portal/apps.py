"""People and wiring: accounts, URL and socket maps, base templates."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = "People"
    default = True


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site; listed after our apps, so that their templates win."""

    default = False
    default_site = "portal.admin_site.PortalAdminSite"
