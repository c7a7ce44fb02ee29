"""Views that change servers: authorise, check the form, call the service, answer. Each is POST, or a form's page."""

from django.contrib import messages
from django.contrib.auth import get_user_model
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs.pages import done, is_htmx, member, members_only, refused
from servers import access, games, ingame, services
from servers.errors import FieldsChanged, NameInvalid, RightsChanged, ServerError
from servers.forms import PREFIX, ChangeSettingsForm, CommandForm, DeleteForm, NewServerForm, ShareForm
from servers.layers import stack
from servers.models import Blueprint, Layer, Right, Server
from servers.services.creation import check_name
from servers.settings_views import truth_context
from servers.views import head_context, server_page

POWER = {
    "start": (services.start_server, "{} is starting."),
    "stop": (services.stop_server, "{} is stopping."),
    "restart": (services.restart_server, "{} is restarting."),
}


def _show_refusal(form: Form, error: Exception) -> None:
    """Put what a service refused beside the field it belongs to, or above the form."""
    field = getattr(error, "field", "")
    form.add_error(field if field in form.fields else None, str(error))


def url_of(server: Server) -> str:
    return reverse("servers:overview", args=[server.name])


@require_POST
@server_page(Right.POWER)
def power(request: HttpRequest, server: Server, verb: str) -> HttpResponse:
    """Start, stop or restart."""
    service, text = POWER[verb]
    try:
        service(by=member(request), server=server)
    except (ServerError, games.UnknownGame) as error:
        return refused(request, str(error), to=url_of(server), topics=[server.topic])
    return done(request, text.format(server.name), to=url_of(server), topics=[server.topic])


def _offered() -> list[Blueprint]:
    """Blueprints a member may pick: offered, and of a game that is defined."""
    known = games.all_games()
    return [blueprint for blueprint in Blueprint.objects.filter(is_offered=True) if blueprint.game in known]


@members_only
@require_http_methods(["GET", "POST"])
def new_server(request: HttpRequest) -> HttpResponse:
    """Pick a blueprint, a name and settings. Picking another blueprint fetches its settings (`?blueprint=`)."""
    offered = _offered()
    if not offered:
        return render(request, "servers/new.html", {"offered": offered})
    given = request.POST or request.GET
    blueprint = next((one for one in offered if one.slug == given.get("blueprint")), offered[0])
    # Pressed before the settings of another choice had come: they are shown first.
    is_other = bool(request.POST) and request.POST.get("settings-of", blueprint.slug) != blueprint.slug
    form = NewServerForm(
        None if is_other else request.POST or None,
        blueprint=blueprint,
        offered=offered,
        usable=Layer.objects.usable_by(member(request)),
        game=games.get(blueprint.game),
        maps=stack.maps(blueprint),
        initial={"name": given.get("name", "")},
    )
    if form.is_valid():
        wanted = ("name", "blueprint", "settings", "follow", "slots")
        try:
            made = services.create_server(by=member(request), **{key: form.cleaned_data[key] for key in wanted})
        except (ServerError, games.SettingsError) as error:
            _show_refusal(form, error)
        else:
            return _lead_on(request, made)
    template = "servers/_settings_fields.html" if is_htmx(request) else "servers/new.html"
    context = {"form": form, "offered": offered, "blueprint": blueprint, "is_other": is_other}
    return render(request, template, context, status=422 if form.errors or is_other else 200)


def _lead_on(request: HttpRequest, made: Server) -> HttpResponse:
    """To the new server, or first to what it still needs."""
    try:
        stack.require_slots_filled(made)
    except ServerError as error:
        messages.warning(request, str(error))
        return redirect("servers:stack_show", "servers", made.name)
    messages.success(request, f"{made.name} is ready. Start it when you like.")
    return redirect(url_of(made))


@members_only
@require_safe
def name_hint(request: HttpRequest) -> HttpResponse:
    """What is wrong with a name that is being typed, if anything."""
    name, problem = request.GET.get("name", "").strip(), ""
    try:
        check_name(name)
    except NameInvalid as error:
        problem = str(error)
    if not problem and Server.objects.present().filter(name=name).exists():
        problem = f"The name “{name}” is taken. Choose another one."
    return render(request, "servers/_name_hint.html", {"name": name, "problem": problem})


@require_http_methods(["GET", "POST"])
@server_page(Right.SETTINGS)
def settings(request: HttpRequest, server: Server) -> HttpResponse:
    """The settings a server starts with."""
    try:
        game = games.get(server.game)
    except games.UnknownGame:
        return render(request, "servers/settings.html", head_context(request, server) | {"tab": "settings"})
    form = ChangeSettingsForm(request.POST or None, game=game, chosen=server.chosen, maps=stack.maps(server))
    status = 422
    if request.method == "POST" and form.is_valid():
        try:
            services.change_settings(by=member(request), server=server, changes=form.changes, seen=form.seen_values)
        except FieldsChanged as error:
            form.tell(PREFIX + key for key in error.names)
            status = 409
        except ServerError as error:
            _show_refusal(form, error)
        else:
            later = " They hold from its next start." if server.is_live else ""
            messages.success(request, f"The settings are saved.{later}")
            return redirect("servers:settings", server.name)
    context = head_context(request, server) | {"tab": "settings", "form": form} | truth_context(request, server, game)
    return render(request, "servers/settings.html", context, status=status if form.errors else 200)


@require_http_methods(["GET", "POST"])
@server_page(Right.MEMBERS)
def people(request: HttpRequest, server: Server) -> HttpResponse:
    """Who may do what with a server; sharing it with one more member, or changing what one may do."""
    form, status = ShareForm(request.POST or None), 422
    if form.is_valid():
        user, rights = form.cleaned_data["username"], form.cleaned_data["rights"]
        try:
            was = _seen_rights(request, user.pk)
            services.share_server(by=member(request), server=server, user=user, rights=rights, was=was)
        except RightsChanged as error:
            form.add_error("rights", f"{error} Share again to have it as you ticked it.")
            status = 409
        except ServerError as error:
            _show_refusal(form, error)
        else:
            messages.success(request, f"{server.name} is shared with {user}.")
            return redirect("servers:people", server.name)
    context = people_context(request, server) | {"form": form}
    return render(request, "servers/people.html", context, status=status if form.errors else 200)


def _seen_rights(request: HttpRequest, user: int) -> list[str] | None:
    """Of the user as the page showed them, none for who was not on it; None where that was not sent."""
    if "was" not in request.POST:
        return None
    shown = dict(one.split(":", 1) for one in request.POST["was"].split() if ":" in one)
    return list(filter(None, shown.get(str(user), "").split(",")))


def people_context(request: HttpRequest, server: Server) -> dict[str, object]:
    memberships = server.memberships.model.objects.filter(server=server).select_related("user")
    game = games.all_games().get(server.game)
    admins = game.admins if game else None
    rows = [
        (one.user, one.rights, admins and ingame.flags_of(server, admins, one.user, one.rights))
        for one in memberships.order_by("user__username")
    ]
    return head_context(request, server) | {"tab": "people", "rows": rows, "admins": admins}


@require_safe
@server_page(Right.MEMBERS)
def people_part(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/_people.html", people_context(request, server))


@require_POST
@server_page()
def unshare(request: HttpRequest, server: Server, user_id: int) -> HttpResponse:
    """Take somebody's rights away; anybody may give up their own."""
    user = member(request)
    leaves = user.pk == user_id
    if not leaves:  # before anything tells whether there is such a member
        access.require(user, server, Right.MEMBERS)
    target = get_object_or_404(get_user_model(), pk=user_id, memberships__server=server)
    to = reverse("servers:list") if leaves else reverse("servers:people", args=[server.name])
    try:
        services.unshare_server(by=user, server=server, user=target)
    except ServerError as error:
        return refused(request, str(error), to=to, topics=[server.topic])
    text = f"You left {server.name}." if leaves else f"{target} has no rights on {server.name} any more."
    return done(request, text, to=to, topics=[server.topic])


@require_http_methods(["GET", "POST"])
@server_page()
def delete(request: HttpRequest, server: Server) -> HttpResponse:
    """Delete a server: its owner and staff may, after typing its name."""
    user = member(request)
    access.require_owner(user, server, "delete")
    form = DeleteForm(request.POST or None, name=server.name)
    if form.is_valid():
        try:
            services.delete_server(by=user, server=server)
        except ServerError as error:
            _show_refusal(form, error)
        else:
            messages.success(request, f"{server.name} is deleted. A moderator can bring it back for 7 days.")
            return redirect("servers:list")
    context = head_context(request, server) | {"form": form}
    return render(request, "servers/delete.html", context, status=422 if form.errors else 200)


@require_POST
@server_page()
def rcon(request: HttpRequest, server: Server) -> HttpResponse:
    """Send one console command and show its answer."""
    form = CommandForm(request.POST)
    text = form.cleaned_data["command"] if form.is_valid() else ""
    access.require_command(member(request), server, text)
    try:
        answer = services.send_command(by=member(request), server=server, text=text)
    except (ServerError, games.UnknownGame) as error:
        return refused(request, str(error), to=url_of(server))
    if is_htmx(request):
        return render(request, "servers/_answer.html", {"command": text, "answer": answer})
    return done(request, answer or "Sent; the game answered nothing.", to=url_of(server))
