"""People: users, the invitations that let them in and the tokens that let their programs in."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone


class User(AbstractUser):
    """A member; `is_staff` may moderate. Suspension is its own field, apart from Django's `is_active`."""

    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_reason = models.CharField(max_length=200, blank=True, editable=False)

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def may_enter(self) -> bool:
        """Whether this user may sign in, use a token or keep a socket."""
        return self.is_active and not self.is_suspended


class Invitation(models.Model):
    """A single-use link that makes an account. Only the digest of its secret is stored."""

    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the secret, hex.")
    note = models.CharField(max_length=120, blank=True, help_text="Whom it is for.")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="invitations_made")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.OneToOneField(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="invitation")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.note or f"invitation {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.used_at is None and self.revoked_at is None and self.expires_at > timezone.now()


class ApiToken(models.Model):
    """A bearer token of the HTTP API. The secret is shown once; only its digest is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=60)
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the token, hex.")
    hint = models.CharField(max_length=12, editable=False, help_text="First characters, to tell tokens apart.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], condition=Q(revoked_at=None), name="token_name_per_user")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"
