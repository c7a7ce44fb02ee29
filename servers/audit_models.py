"""The audit trail."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """Who did what to a server, kept after either is gone."""

    at = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    server = models.ForeignKey("servers.Server", on_delete=models.SET_NULL, null=True, blank=True, related_name="audit")
    action = models.CharField(max_length=40)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["server", "-id"], name="audit_by_server"),
            models.Index(fields=["at"], name="audit_by_age"),
        ]

    def __str__(self) -> str:
        return self.action
