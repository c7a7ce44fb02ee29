"""The admin site: django-unfold's look on Django's own admin."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    """Django's admin, registered after our apps so that their templates win."""
