"""People for moderators: who they are, who is suspended, and the invitations that let more in."""

from typing import Any

from allauth.account.models import EmailAddress
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from jobs.admin_base import ChangedOfOneForm, Confirmed, ModeratorAdmin, ReadOnlyAdmin
from jobs.changed import ChangedFields
from jobs.pages import member
from portal import services
from portal.models import Invitation, User
from servers.disk import last_known
from servers.sizes import in_words

# Not for people: groups grant nothing here, members need no e-mail address, and the queue is the engine's own.
for hidden in (Group, EmailAddress, Schedule, Success, Failure, OrmQ):
    if admin.site.is_registered(hidden):
        admin.site.unregister(hidden)


class SuspendForm(forms.Form):
    """Why somebody is suspended."""

    reason = forms.CharField(
        max_length=200, required=False, widget=UnfoldAdminTextInputWidget, help_text="They read it when they sign in."
    )


class DiskForm(ChangedOfOneForm):
    """What a member may have on disk."""

    disk_quota_mib = forms.IntegerField(
        label="Disk limit", required=False, min_value=1, max_value=1 << 30, widget=UnfoldAdminIntegerFieldWidget,
        help_text=User._meta.get_field("disk_quota_mib").help_text,
    )  # fmt: skip


class RoleForm(ChangedFields, forms.ModelForm):  # type: ignore[type-arg]
    """What a user may moderate. Not locked while it is open for saving: the service locks in an order of its own."""

    class Meta:
        model = User
        fields = ("is_staff", "is_superuser")
        labels = {"is_staff": "Moderator", "is_superuser": "Administrator"}
        help_texts = {
            "is_staff": "May see and manage every server, and suspend members.",
            "is_superuser": "May also suspend moderators, make new ones, and write scripts that make layers.",
        }


class SuspendedFilter(admin.SimpleListFilter):
    """Who is kept out."""

    title = parameter_name = "suspended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Suspended"), ("no", "In good standing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return queryset.filter(suspended_at__isnull=self.value() == "no") if self.value() else queryset


@admin.register(User)
class UserAdmin(ModeratorAdmin):
    """Members come by invitation and are never deleted, only suspended. Roles are for administrators to change."""

    form = RoleForm
    list_display = ("username", "role", "standing", "server_count", "last_login", "date_joined")
    list_filter = (SuspendedFilter, "is_staff", "is_superuser")
    search_fields = ("username",)
    ordering = ("username",)
    fields = (
        "username",
        "is_staff",
        "is_superuser",
        "steam_id",
        "disk",
        "suspended_at",
        "suspended_reason",
        "last_login",
        "date_joined",
    )
    readonly_fields = ("username", "steam_id", "disk", "suspended_at", "suspended_reason", "last_login", "date_joined")
    actions = ("suspend", "reinstate", "reset_password", "revoke_tokens", "set_disk_limit")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        present = Count("servers", filter=Q(servers__deleted_at=None))
        users: QuerySet[User] = super().get_queryset(request)
        return users.annotate(server_count=present)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request) and member(request).is_superuser and obj != request.user

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        changes = {name: form.cleaned_data[name] for name in form.changed_data}
        try:
            services.change_role(by=member(request), user=obj, **changes)
        except services.RoleError as error:  # made a member since the page was opened
            raise PermissionDenied(str(error)) from error

    @admin.display(description="Role")
    def role(self, user: User) -> str:
        return "Administrator" if user.is_superuser else "Moderator" if user.is_staff else "Member"

    @display(description="Standing", label={"suspended": "danger", "good": "success"})
    def standing(self, user: User) -> tuple[str, str]:
        return ("suspended", "Suspended") if user.is_suspended else ("good", "In good standing")

    @admin.display(description="Servers", ordering="server_count")
    def server_count(self, user: Any) -> int:
        return int(user.server_count)

    @admin.display(description="Disk")
    def disk(self, user: User) -> str:
        use = last_known(user)
        return f"{in_words(use.used)} of {in_words(use.limit)}" if use.limit is not None else in_words(use.used)

    @Confirmed(
        "Set disk limit", "It holds at once, for layers, uploads and what their servers write.", (services.RoleError,),
        DiskForm, initial=lambda user: {"disk_quota_mib": user.disk_quota_mib},
    )  # fmt: skip
    def set_disk_limit(self, request: HttpRequest, user: User, **changed: int | None) -> str:
        if not changed:
            return f"{user} has the disk limit they had."
        services.set_disk_quota(by=member(request), user=user, **changed)
        return f"{user} has another disk limit."

    @Confirmed(
        "Suspend", "They are signed out everywhere, their tokens are refused and their servers stop.",
        (services.SuspensionError,), SuspendForm,
    )  # fmt: skip
    def suspend(self, request: HttpRequest, user: User, reason: str) -> str:
        services.suspend_user(by=member(request), user=user, reason=reason)
        return f"{user} is suspended."

    @Confirmed("Reinstate", "They can sign in again. Their servers stay stopped.", (services.SuspensionError,))
    def reinstate(self, request: HttpRequest, user: User) -> str:
        services.reinstate_user(by=member(request), user=user)
        return f"{user} is reinstated."

    @Confirmed(
        "Reset password",
        "The portal makes up a new one for you to pass on, signs them out everywhere and revokes their API tokens.",
        (services.RoleError,), most=1,
    )  # fmt: skip
    def reset_password(self, request: HttpRequest, user: User) -> HttpResponse:
        secret = services.reset_password(by=member(request), user=user)
        explain = (
            f"The new password of {user}. Tell them to change it after they have signed in. "
            "Their API tokens are revoked; programs that used them need new ones."
        )
        return self.page(request, "admin/shown_once.html", title="New password", explain=explain, secret=secret)

    @Confirmed("Revoke API tokens", "Programs that act as them are refused at once.", (services.RoleError,))
    def revoke_tokens(self, request: HttpRequest, user: User) -> str:
        count = services.revoke_tokens(by=member(request), user=user)
        return f"{user} had {count} API token{'' if count == 1 else 's'}, revoked now."


class InvitationForm(forms.Form):
    """Whom an invitation is for, and how long it holds."""

    note = forms.CharField(
        label="For", max_length=120, required=False, widget=UnfoldAdminTextInputWidget,
        help_text="Whom it is for; only moderators see it.",
    )  # fmt: skip
    days = forms.IntegerField(
        label="Valid for days", min_value=1, max_value=services.LONGEST_INVITATION_DAYS, initial=7,
        widget=UnfoldAdminIntegerFieldWidget, help_text=f"{services.LONGEST_INVITATION_DAYS} at most.",
    )  # fmt: skip


class StandingFilter(admin.SimpleListFilter):
    """What became of an invitation."""

    title = parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("used", "Used"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> QuerySet[Invitation]:
        unused = queryset.filter(used_at=None)
        chosen = {
            "open": unused.filter(revoked_at=None, expires_at__gt=timezone.now()),
            "used": queryset.exclude(used_at=None),
            "expired": unused.filter(revoked_at=None, expires_at__lte=timezone.now()),
            "revoked": unused.exclude(revoked_at=None),
        }
        return chosen.get(self.value() or "", queryset)


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Single-use links. A new one's link is in one response and is kept nowhere."""

    list_display = ("__str__", "standing", "created_by", "created_at", "expires_at", "used_by")
    list_filter = (StandingFilter,)
    list_select_related = ("created_by", "used_by")
    search_fields = ("note", "used_by__username", "created_by__username")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = InvitationForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self.page(request, "admin/confirm.html", title="Make an invitation", form=form)
        made, secret = services.create_invitation(by=member(request), **form.cleaned_data)
        link = request.build_absolute_uri(reverse("invitation", args=[secret]))
        until = f"{made.expires_at:%A}, {made.expires_at.day} {made.expires_at:%B %Y, %H:%M} UTC"
        explain = f"Send this link to the newcomer. It makes one account, and can be used until {until}."
        return self.page(request, "admin/shown_once.html", title="Invitation", explain=explain, secret=link)

    @display(description="Standing", label={"Open": "success", "Revoked": "warning"})
    def standing(self, invitation: Invitation) -> str:
        if invitation.used_at:
            return "Used"
        if invitation.revoked_at:
            return "Revoked"
        return "Open" if invitation.is_open else "Expired"

    @Confirmed("Revoke", "The link lets nobody in any more.", (services.InvitationError,))
    def revoke(self, request: HttpRequest, invitation: Invitation) -> str:
        services.revoke_invitation(invitation=invitation)
        return f"“{invitation}” is revoked."
