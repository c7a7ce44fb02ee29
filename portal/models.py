"""People: users, the invitations that let them in and the tokens that let their programs in."""

from typing import ClassVar, Self

from django.contrib.auth.models import AbstractUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from servers import steam_ids

# `\Z`, since `$` lets a newline follow; PostgreSQL reads both letters as Python does.
USERNAME_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9._-]{1,29}\Z"
USERNAME_RULE = "Use 2 to 30 letters, digits, dots, dashes and underscores, starting with a letter or a digit."


class User(AbstractUser):
    """A member; `is_staff` may moderate. Suspension is its own field, apart from Django's `is_active`."""

    username = models.CharField(
        "name",
        max_length=30,
        unique=True,
        validators=[RegexValidator(USERNAME_PATTERN, USERNAME_RULE)],
        error_messages={"unique": "That name is taken. Choose another."},
        help_text=USERNAME_RULE,
    )
    session_generation = models.PositiveIntegerField(
        default=0, editable=False, help_text="Raised to end every session of this user for good."
    )
    # Not unique: nobody proves that an account is theirs, so the first to claim one must not keep its owner from it.
    steam_id = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="Their account with Steam, as the 64-bit number."
    )
    disk_quota_mib = models.PositiveIntegerField(
        "disk limit", null=True, blank=True, help_text="MiB; empty: the portal's, which does not hold for staff."
    )
    disk_used = models.BigIntegerField(default=0, editable=False, help_text="Bytes, as they were counted last.")
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    suspended_reason = models.CharField(max_length=200, blank=True, editable=False)

    REQUIRED_FIELDS: ClassVar[list[str]] = []  # `createsuperuser` asks for no e-mail address

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="username_once_whatever_case",
                violation_error_message="That name is taken. Choose another.",
            ),
            models.CheckConstraint(
                condition=Q(username__regex=USERNAME_PATTERN),
                name="username_pattern",
                violation_error_message=USERNAME_RULE,
            ),
            models.CheckConstraint(
                condition=Q(steam_id=None) | Q(steam_id__range=(steam_ids.LOWEST, steam_ids.HIGHEST)),
                name="user_steam_id_of_a_person",
            ),
        ]

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at is not None

    @property
    def may_enter(self) -> bool:
        """Whether this user may sign in, use a token or keep a socket."""
        return self.is_active and not self.is_suspended

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Django's, with `session_generation` in it: what both the current and the fallback hash are made by."""
        value = f"{self.password}:{self.session_generation}"
        return salted_hmac("portal.User.session", value, secret=secret, algorithm="sha256").hexdigest()


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Reads of invitations."""

    def open(self) -> Self:
        return self.filter(used_at=None, revoked_at=None, expires_at__gt=timezone.now())


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

    objects = InvitationQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(used_by=None) | Q(used_at__isnull=False), name="invitation_used_once")
        ]

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
