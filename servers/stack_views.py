"""The layers of a server, or of a blueprint: their order, what they do to each other, what they bring."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from jobs.pages import View, done, member, members_only, refused
from servers import access, games, services
from servers.errors import ServerError
from servers.forms import SlotForm
from servers.layers import stack
from servers.models import Blueprint, Layer, Right, Server
from servers.shown import for_display
from servers.views import head_context

CHOOSE = "Choose a layer first."


def stack_page(view: View) -> View:
    """Give a view the server or the blueprint: the first for who may change its files, the second for staff."""

    @members_only
    @wraps(view)
    def inner(request: HttpRequest, kind: str, name: str, **kwargs: Any) -> HttpResponse:
        user = member(request)
        if kind == "servers":
            server = for_display(Server.objects.present(), user).filter(name=name).first()
            if server is None:
                raise Http404("There is no such server.")
            access.require(user, server, Right.FILES)
            return view(request, server, **kwargs)
        if not user.is_staff:
            raise PermissionDenied("Blueprints are for moderators.")
        return view(request, get_object_or_404(Blueprint, slug=name), **kwargs)

    return inner


@require_safe
@stack_page
def show_stack(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    template = "servers/stack.html" if isinstance(holder, Server) else "servers/blueprint_stack.html"
    return render(request, template, stack_context(request, holder))


@require_safe
@stack_page
def stack_part(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    return render(request, "servers/_stack.html", stack_context(request, holder))


def stack_context(request: HttpRequest, holder: Server | Blueprint) -> dict[str, Any]:
    entries = list(stack.entries(holder))
    layers = [entry.layer for entry in entries if entry.layer]
    builds = [layer.build for layer in layers if layer.build]
    names = {layer.build_id: layer.name for layer in layers}
    analysis = stack.analyse(builds) if builds else None
    game = games.all_games().get(holder.game)
    known, in_slots = {layer.pk for layer in layers}, {entry.layer_id for entry in entries if entry.slot}
    usable = list(Layer.objects.usable_by(member(request)).filter(game=holder.game))
    context = {
        "holder": holder,
        "entries": entries,
        "last": len(entries) - 1,
        "addable": [layer for layer in usable if layer.pk not in known],
        "fillable": [layer for layer in usable if layer.pk not in in_slots],
        "count": len(layers),
        "analysis": analysis,
        "conflicts": _conflicts(analysis, names, is_listed=bool(game and game.addon_list)) if analysis else [],
        "takes_addons": bool(game and game.addons),
        "urls": {verb: url(holder, verb) for verb in ("add", "part", "show", "slots", "fill", "drop")},
        "topic": topic(holder),
    }
    return context | (head_context(request, holder) | {"tab": "layers"} if isinstance(holder, Server) else {})


def _conflicts(analysis: stack.Analysis, names: dict[int | None, str], *, is_listed: bool) -> list[dict[str, Any]]:
    """For display. `names`: of the layers, by build; `is_listed`: whether a start tells the game the add-ons' order."""
    return [
        {
            "path": conflict.path,
            "sources": [(names[build], addon) for build, addon in conflict.sources],
            "in_addons": any(addon for _, addon in conflict.sources),
            "in_order": is_listed and all(addon for _, addon in conflict.sources),
        }
        for conflict in analysis.conflicts
    ]


@require_POST
@stack_page
def add(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    layer = _chosen(request)
    if layer is None:
        return refused(request, CHOOSE, to=url(holder, "show"))
    return _changed(request, holder, services.add_to_stack, f"{layer.name} is on top.", layer=layer)


@require_POST
@stack_page
def fill(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    """Put a layer into an empty slot."""
    layer, slot = _chosen(request), request.POST.get("slot", "")
    if layer is None:
        return refused(request, CHOOSE, to=url(holder, "show"))
    return _changed(request, holder, services.fill_slot, f"{layer.name} is in “{slot}”.", layer=layer, slot=slot)


@require_POST
@stack_page
def drop(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    """Leave an empty slot out."""
    slot = request.POST.get("slot", "")
    return _changed(request, holder, services.drop_slot, f"“{slot}” is left out.", slot=slot)


@require_POST
@stack_page
def add_slot(request: HttpRequest, holder: Server | Blueprint) -> HttpResponse:
    """Say what belongs onto the stack of whatever is made from a blueprint."""
    form = SlotForm(request.POST)
    if isinstance(holder, Server):
        return refused(request, "Only a blueprint can be given slots.", to=url(holder, "show"))
    if not form.is_valid():
        return refused(request, "Give the slot a name of 60 characters at most.", to=url(holder, "show"))
    return _changed(request, holder, services.add_slot, "The slot is on top.", **form.cleaned_data)


@require_POST
@stack_page
def move(request: HttpRequest, holder: Server | Blueprint, layer: str) -> HttpResponse:
    to = request.POST.get("to", "")
    if not to.isdecimal() or len(to) > 4:
        return refused(request, "Say where to put it.", to=url(holder, "show"))
    return _changed(request, holder, services.move_in_stack, "Moved.", layer=int(layer), to=int(to))


@require_POST
@stack_page
def remove(request: HttpRequest, holder: Server | Blueprint, layer: str) -> HttpResponse:
    return _changed(request, holder, services.remove_from_stack, "Taken off the stack.", layer=int(layer))


def _chosen(request: HttpRequest) -> Layer | None:
    return Layer.objects.usable_by(member(request)).filter(slug=request.POST.get("layer", "")).first()


def _changed(
    request: HttpRequest, holder: Server | Blueprint, service: Callable[..., None], text: str, **arguments: Any
) -> HttpResponse:
    try:
        service(by=member(request), holder=holder, **arguments)
    except ServerError as error:
        return refused(request, str(error), to=url(holder, "show"), topics=[topic(holder)])
    later = " It holds from the next start." if isinstance(holder, Server) and holder.is_live else ""
    return done(request, text + later, to=url(holder, "show"), topics=[topic(holder)])


def topic(holder: Server | Blueprint) -> str:
    return holder.topic if isinstance(holder, Server) else f"blueprint:{holder.pk}"


def url(holder: Server | Blueprint, verb: str) -> str:
    """Of the page, its part, or what adds to it."""
    args = ["servers", holder.name] if isinstance(holder, Server) else ["blueprints", holder.slug]
    return reverse(f"servers:stack_{verb}", args=args)
