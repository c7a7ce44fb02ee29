"""Servers and what they are made of, for moderators. Every action goes through `servers.services`."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from jobs.admin_base import ChangedOfOneForm, Confirmed, ModeratorAdmin, ReadOnlyAdmin
from jobs.changed import ChangedModelForm
from jobs.pages import member
from servers import admin_host, games, services
from servers.admin_filters import PresenceFilter
from servers.errors import ServerError
from servers.limits import BOUNDS
from servers.models import AuditEvent, Blueprint, Installation, Membership, Node, Server

__all__ = ["admin_host"]  # registers the page Hosts
REFUSALS = (ServerError, games.SettingsError, games.UnknownGame)
UNIT_LABELS = {
    "running": "success",
    "starting": "info",
    "stopping": "info",
    "restarting": "warning",
    "crashed": "danger",
}


class TransferForm(ChangedOfOneForm):
    """Whom servers are given to; of a server that is alone it shows who has it."""

    to = forms.CharField(label="New owner", max_length=150, widget=UnfoldAdminTextInputWidget, help_text="Their name.")

    def clean_to(self) -> Any:
        name = self.cleaned_data["to"]
        user = get_user_model().objects.filter(username__iexact=name).first()
        if user is None:
            raise forms.ValidationError(f"Nobody here is called “{name}”. Check the spelling.")
        return user


class LimitsForm(ChangedOfOneForm):
    """What a server may use at most."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, (least, most) in BOUNDS.items():
            asked: Any = Server._meta.get_field(name)
            self.fields[name] = forms.IntegerField(
                label=asked.verbose_name, help_text=asked.help_text, required=False, min_value=least, max_value=most,
                widget=UnfoldAdminIntegerFieldWidget,
            )  # fmt: skip
        self.add_twins()


def own_limits(server: Server) -> dict[str, Any]:
    return {name: getattr(server, name) for name in BOUNDS}


class MembershipInline(TabularInline):
    """Who else has rights; they are given and taken on the server's own page."""

    model = Membership
    fields = ("user", "rights")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        return super().get_queryset(request).select_related("user", "server")


@admin.register(Server)
class ServerAdmin(ReadOnlyAdmin):
    """State is the agent's to write, so nothing is edited here."""

    list_display = ("name", "owner", "game", "node", "unit_label", "players", "desired", "created_at", "page_link")
    list_filter = (PresenceFilter, "unit", "desired", "game", "node")
    search_fields = ("name", "owner__username")
    search_help_text = "Name of a server or of its owner"
    ordering = ("name", "-pk")
    fields = (
        "name", "owner", "node", "game", "blueprint", "installation", "settings", *BOUNDS, "desired", "unit",
        "unit_detail", "unit_at", "query", "query_at", "created_at", "deleted_at",
    )  # fmt: skip
    inlines = (MembershipInline,)
    actions = ("stop", "restart", "set_limits", "transfer", "restore", "delete_for_good")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Server]:
        return super().get_queryset(request).select_related("owner", "node", "blueprint", "installation")

    def view_on_site(self, server: Server) -> str | None:
        return None if server.deleted_at else reverse("servers:overview", args=[server.name])

    @display(description="State", ordering="unit", label=UNIT_LABELS)
    def unit_label(self, server: Server) -> tuple[str, str]:
        return server.unit, "deleted" if server.deleted_at else server.get_unit_display()

    @admin.display(description="Players")
    def players(self, server: Server) -> str:
        facts = server.facts()
        return f"{facts.get('players')}/{facts.get('max_players')}" if facts else ""

    @admin.display(description="Page")
    def page_link(self, server: Server) -> str:
        url = self.view_on_site(server)
        return format_html('<a class="underline" href="{}">Open</a>', url) if url else ""

    @Confirmed("Stop", "Players on it are disconnected. The owner can start it again.", REFUSALS)
    def stop(self, request: HttpRequest, server: Server) -> str:
        services.stop_server(by=member(request), server=server)
        return f"{server} is stopping."

    @Confirmed("Restart", "Players on it are disconnected, and can come back in a moment.", REFUSALS)
    def restart(self, request: HttpRequest, server: Server) -> str:
        services.restart_server(by=member(request), server=server)
        return f"{server} is restarting."

    @Confirmed(
        "Set limits",
        "They hold from the next start. Empty: what the blueprint, else the game, else the portal says.",
        REFUSALS,
        LimitsForm,
        initial=own_limits,
    )
    def set_limits(self, request: HttpRequest, server: Server, **limits: int | None) -> str:
        services.set_limits(by=member(request), server=server, limits=limits)
        return f"{server} has these limits from its next start."

    @Confirmed(
        "Transfer", "The former owner keeps no right on it.", REFUSALS, TransferForm,
        initial=lambda server: {"to": server.owner.username},
    )  # fmt: skip
    def transfer(self, request: HttpRequest, server: Server, to: Any = None) -> str:
        to = to or server.owner
        services.transfer_server(by=member(request), server=server, to=to)
        return f"{server} is {to}'s now."

    @Confirmed("Restore", "It comes back to its owner, stopped, with its files and new ports.", REFUSALS)
    def restore(self, request: HttpRequest, server: Server) -> str:
        services.restore_server(by=member(request), server=server)
        return f"{server} is being restored."

    @Confirmed("Delete for good", "Of servers that were deleted: nobody can bring them back then.", REFUSALS)
    def delete_for_good(self, request: HttpRequest, server: Server) -> str:
        services.delete_for_good(by=member(request), server=server)
        return f"{server} is being deleted for good."


@admin.register(Node)
class NodeAdmin(ModeratorAdmin):
    """Machines register themselves; here an administrator says how players and the agent reach them: the portal sends
    queries and the passwords of remote consoles to that address."""

    form = ChangedModelForm
    list_display = ("name", "slug", "address", "query_host", "agent_seen_at")
    readonly_fields = ("slug", "agent_seen_at", "agent_info")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and member(request).is_superuser


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """Versions of games on nodes."""

    list_display = ("game", "version", "node", "state", "is_current", "size_bytes", "created_at")
    list_filter = ("state", "is_current", "game", "node")
    list_select_related = ("node",)
    actions = ("update_game",)

    @Confirmed(
        "Update",
        "A new version is built beside this one; servers move to it at their next start.",
        (games.UnknownGame,),
    )
    def update_game(self, request: HttpRequest, installation: Installation) -> str:
        job = services.install_game(by=member(request), node=installation.node, game=installation.game, update=True)
        return f"{job.title} is job {job.pk}."


class BlueprintForm(ChangedModelForm):
    """A blueprint whose settings its game accepts."""

    class Meta:
        model = Blueprint
        fields = ("name", "slug", "summary", "game", "settings", *BOUNDS, "is_offered", "position")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = sorted((game.name, slug) for slug, game in games.all_games().items())
        choices = [(slug, name) for name, slug in known]
        self.fields["game"] = forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)
        self.add_twins()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        values = cleaned.get("settings")
        if "settings" in self.errors:
            return cleaned
        if not isinstance(values, dict):
            self.add_error("settings", 'Write the settings as {"key": value, …}.')
        elif "game" in cleaned:
            try:
                cleaned["settings"] = games.get(cleaned["game"]).clean_settings(values)
            except games.SettingsError as error:
                self.add_error("settings", list(error.by_key.values()))
        return cleaned


@admin.register(Blueprint)
class BlueprintAdmin(ModeratorAdmin):
    """What members may create servers from. Its limits reach every server made from it, the rest those that follow it,
    at their next start."""

    form = BlueprintForm
    list_display = ("name", "slug", "game", "is_offered", "position")
    list_filter = ("game", "is_offered")
    search_fields = ("name", "slug", "summary")
    prepopulated_fields = {"slug": ("name",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        services.save_blueprint(by=member(request), blueprint=obj)

    def delete_model(self, request: HttpRequest, obj: Blueprint) -> None:
        services.delete_blueprint(by=member(request), blueprint=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Blueprint]) -> None:
        for blueprint in queryset:
            self.delete_model(request, blueprint)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Who did what."""

    list_display = ("at", "actor", "action", "server", "detail")
    list_filter = ("action", "at")  # no date_hierarchy: each of its pages reads every event
    list_select_related = ("actor", "server")
    search_fields = ("actor__username", "server__name")
    show_full_result_count = False
