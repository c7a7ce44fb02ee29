"""People and wiring: accounts, URL and socket maps, base templates."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"
