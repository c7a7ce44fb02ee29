"""Forms of the account pages: they check and explain, `portal/services.py` writes."""

from typing import Any

from allauth.account.forms import ChangePasswordForm as AllauthChangePasswordForm
from allauth.account.forms import LoginForm as AllauthLoginForm
from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.db import transaction

from jobs.changed import ChangedFields
from portal import tokens
from portal.models import ApiToken, User
from servers import steam_ids


class LoginForm(AllauthLoginForm):
    """Signing in; only a right password learns that the account is suspended, and why."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()  # type: ignore[no-untyped-call]
        user = self.user
        if isinstance(user, User) and not user.may_enter:
            why = f": {user.suspended_reason.rstrip('.')}" if user.suspended_reason else ""
            raise forms.ValidationError(f"Your account is suspended{why}. Ask a moderator about it.")
        return cleaned


class ChangePasswordForm(AllauthChangePasswordForm):
    """A new password, and an end to what the old one may have let in: sessions in any case, tokens when ticked."""

    user: User
    revoke_tokens = forms.BooleanField(
        label="Revoke my API tokens too", required=False, initial=True,
        help_text="Programs that use them will need new ones. Leave it ticked if somebody knew your password.",
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not tokens.live(self.user).exists():
            del self.fields["revoke_tokens"]

    def save(self) -> None:
        with transaction.atomic():
            super().save()
            if self.cleaned_data.get("revoke_tokens"):
                tokens.revoke_tokens(user=self.user)


class InvitationForm(UserCreationForm):  # type: ignore[type-arg]
    """A newcomer's name and password, checked by the model's constraints and the password validators."""

    class Meta:
        model = User
        fields = ("username",)

    def validate_password_for_user(self, user: User, **kwargs: Any) -> None:
        """Say what is wrong with a password where it was chosen, not where it was typed again."""
        super().validate_password_for_user(user, "password1")  # type: ignore[misc]


class SteamIdField(forms.CharField):
    """The number of an account, in whichever way it was copied; two ways to write one are the same value."""

    def to_python(self, value: Any) -> int | None:  # type: ignore[override]
        text = super().to_python(value)
        try:
            return steam_ids.parse(text) if text else None
        except steam_ids.NotASteamId as error:
            raise forms.ValidationError(str(error)) from error


class SteamIdForm(ChangedFields, forms.Form):
    """A member's Steam id. Empty takes it away."""

    steam_id = SteamIdField(
        label="Your Steam id", required=False,
        help_text="17 digits, or as STEAM_1:0:11101, [U:1:22202] or https://steamcommunity.com/profiles/…",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "maxlength": 200}),
    )  # fmt: skip


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """What a member calls a new token."""

    class Meta:
        model = ApiToken
        fields = ("name",)
        help_texts = {"name": "What will use it, so that you know which to revoke."}
