"""Pages about layers: the list, one layer, and what changes it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs.models import Job
from jobs.pages import View, done, member, members_only, page_of, refused
from servers import access, games, services
from servers.disk import last_known
from servers.errors import FieldsChanged, FileChanged, ServerError, UploadGone
from servers.layer_forms import (
    LayerFileForm,
    LayerForm,
    NewArchiveForm,
    NewFilesForm,
    NewLayerForm,
    NewScriptForm,
    NewWorkshopForm,
    RebuildForm,
    ScriptForm,
    WorkshopForm,
)
from servers.models import Layer, Server, Upload
from servers.own_file_models import version_of

if TYPE_CHECKING:
    from portal.models import User

PER_PAGE = 50
USERS_SHOWN = 50
NEW_FORMS: dict[str, type[NewLayerForm]] = {
    Layer.Kind.ARCHIVE: NewArchiveForm,
    Layer.Kind.WORKSHOP: NewWorkshopForm,
    Layer.Kind.FILES: NewFilesForm,
    Layer.Kind.SCRIPT: NewScriptForm,
}


def layer_page(*, change: bool = False) -> Callable[[View], View]:
    """Give a view the layer its URL names: 404 for who may not use it, 403 for who may not change it."""

    def find(user: "User", slug: str) -> Layer:
        layer = Layer.objects.usable_by(user).select_related("owner", "build").filter(slug=slug).first()
        if layer is None:
            raise Http404("There is no such layer.")
        if change:
            access.require_layer_change(user, layer)
        return layer

    return page_of(find, key="slug")


@members_only
@require_safe
def layer_list(request: HttpRequest) -> HttpResponse:
    return render(request, "servers/layers.html", list_context(request))


@members_only
@require_safe
def layer_list_part(request: HttpRequest) -> HttpResponse:
    return render(request, "servers/_layers.html", list_context(request))


def list_context(request: HttpRequest) -> dict[str, Any]:
    """One page of the layers the user may use, each with the job under way."""
    user = member(request)
    usable = Layer.objects.usable_by(user).select_related("owner", "build")
    page = Paginator(usable, PER_PAGE).get_page(request.GET.get("page"))
    jobs = Job.objects.active().filter(subject__in=[layer.topic for layer in page])
    under_way = {job.subject: job for job in jobs}
    known = games.all_games()
    rows = [
        {
            "layer": layer,
            "job": under_way.get(layer.topic),
            "game": known[layer.game].name if layer.game in known else layer.game,
        }
        for layer in page
    ]
    uploads = Upload.objects.filter(owner=user).order_by("touched_at")
    return {"page": page, "rows": rows, "uploads": uploads, "disk": last_known(user, reader=user)}


@members_only
@require_http_methods(["GET", "POST"])
def new_layer(request: HttpRequest) -> HttpResponse:
    """A new layer of the kind that `?kind=` names."""
    kind = request.GET.get("kind", "")
    kind = kind if kind in NEW_FORMS else str(Layer.Kind.ARCHIVE)
    if kind == Layer.Kind.SCRIPT:
        access.require_scripts(member(request))
    form = NEW_FORMS[kind](request.POST or None, initial={"game": request.GET.get("game", "")})
    if form.is_valid():
        given = form.cleaned_data
        try:
            made = services.create_layer(
                by=member(request), name=given["name"], game=given["game"], kind=kind,
                visibility=given["visibility"], source=form.source, upload=form.upload,
            )  # fmt: skip
        except ServerError as error:
            form.add_error("upload_key" if isinstance(error, UploadGone) else None, str(error))
        else:
            messages.success(request, f"{made.name} is being built.")
            return redirect("servers:layer", made.slug)
    may_write_scripts = access.may_write_scripts(member(request))
    kinds = [one for one in Layer.Kind if one != Layer.Kind.SCRIPT or may_write_scripts]
    context = {"form": form, "kind": kind, "kinds": kinds}
    return render(request, "servers/layer_new.html", context, status=422 if form.errors else 200)


@require_safe
@layer_page()
def layer(request: HttpRequest, layer: Layer) -> HttpResponse:
    return render(request, "servers/layer.html", layer_context(request, layer))


@require_safe
@layer_page()
def layer_part(request: HttpRequest, layer: Layer) -> HttpResponse:
    return render(request, "servers/_layer.html", layer_context(request, layer))


def layer_context(request: HttpRequest, layer: Layer, **forms: Any) -> dict[str, Any]:
    """`forms`: those that were sent, in place of `form`, `ids_form` and `script_form`; `theirs` beside them."""
    user = member(request)
    users = Server.objects.present().filter(stack__layer=layer)
    seen = list(Server.objects.visible_to(user).filter(stack__layer=layer)[:USERS_SHOWN])
    blueprints = list(layer.entries.exclude(blueprint=None).values_list("blueprint__name", flat=True))
    known = games.all_games()
    return {
        "layer": layer,
        "game": known[layer.game].name if layer.game in known else layer.game,
        "last": Job.objects.about(layer.topic).first(),
        "builds": layer.builds.all(),
        "servers": seen,
        "others": users.count() - len(seen),
        "blueprints": blueprints,
        "may_change": access.may_change_layer(user, layer),
        "form": LayerForm(initial=_initial(layer)),
        "items": layer.source.get("items", []),
        "ids_form": WorkshopForm(initial={"ids": layer.source_text, "was": layer.source_version}),
        "files": sorted(layer.source.get("files", {})),
        "script_form": ScriptForm(initial=layer.source | {"was": layer.source_version}),
    } | forms


@require_POST
@layer_page(change=True)
def change_layer(request: HttpRequest, layer: Layer) -> HttpResponse:
    form = LayerForm(request.POST, initial=_initial(layer))
    if not form.is_valid():
        return render(request, "servers/layer.html", layer_context(request, layer, form=form), status=422)
    try:
        services.change_layer(layer=layer, **form.for_service())
    except FieldsChanged as error:
        form.tell(error.names)
        return render(request, "servers/layer.html", layer_context(request, layer, form=form), status=409)
    except ServerError as error:
        return refused(request, str(error), to=reverse("servers:layers"))
    return done(request, "Saved.", to=_url(layer), topics=[layer.topic])


@require_POST
@layer_page(change=True)
def rebuild(request: HttpRequest, layer: Layer) -> HttpResponse:
    """A new build from what its source says now; of an archive, from an upload."""
    form = RebuildForm(request.POST)
    if not form.is_valid():
        return refused(request, "That is no uploaded file. Choose it again and wait until it is here.", to=_url(layer))
    try:
        services.build_layer(by=member(request), layer=layer, upload=form.cleaned_data["upload_key"])
    except ServerError as error:
        return refused(request, str(error), to=_url(layer), topics=[layer.topic])
    return done(request, f"{layer.name} is being built.", to=_url(layer), topics=[layer.topic])


@require_POST
@layer_page(change=True)
def workshop_items(request: HttpRequest, layer: Layer) -> HttpResponse:
    """Other items for a layer from the Workshop."""
    form = WorkshopForm(request.POST)
    if layer.kind != Layer.Kind.WORKSHOP:
        raise Http404("This layer's files are not from the Workshop.")
    if not form.is_valid():
        return render(request, "servers/layer.html", layer_context(request, layer, ids_form=form), status=422)
    given = form.cleaned_data
    try:
        services.change_source(by=member(request), layer=layer, source={"ids": given["ids"]}, was=given["was"] or None)
    except FileChanged as error:
        return _beside_theirs(request, layer, error, ids_form=form)
    except ServerError as error:
        return refused(request, str(error), to=reverse("servers:layers"), topics=[layer.topic])
    return done(request, f"{layer.name} is being built.", to=_url(layer), topics=[layer.topic])


@require_POST
@layer_page(change=True)
def layer_script(request: HttpRequest, layer: Layer) -> HttpResponse:
    """Another script for a layer that one makes."""
    if layer.kind != Layer.Kind.SCRIPT:
        raise Http404("No script makes this layer.")
    form = ScriptForm(request.POST)
    if not form.is_valid():
        return render(request, "servers/layer.html", layer_context(request, layer, script_form=form), status=422)
    try:
        given = form.cleaned_data | {"was": form.cleaned_data["was"] or None}
        services.change_script(by=member(request), layer=layer, **given)
    except FileChanged as error:
        return _beside_theirs(request, layer, error, script_form=form)
    except ServerError as error:
        return refused(request, str(error), to=reverse("servers:layers"))
    return done(request, f"{layer.name} is being built.", to=_url(layer), topics=[layer.topic])


def _beside_theirs(request: HttpRequest, layer: Layer, error: FileChanged, **sent: Any) -> HttpResponse:
    """The page with what was sent, and what somebody else saved meanwhile."""
    layer.refresh_from_db()
    forms = {name: form.again(was=layer.source_version) for name, form in sent.items()}
    context = layer_context(request, layer, **forms, theirs=error.current)
    return render(request, "servers/layer.html", context, status=409)


@require_POST
@layer_page(change=True)
def delete_layer(request: HttpRequest, layer: Layer) -> HttpResponse:
    try:
        services.delete_layer(layer=layer)
    except ServerError as error:
        messages.error(request, str(error))
        return redirect(_url(layer))
    messages.success(request, f"{layer.name} is deleted.")
    return redirect("servers:layers")


@require_http_methods(["GET", "POST"])
@layer_page(change=True)
def layer_file(request: HttpRequest, layer: Layer) -> HttpResponse:
    """One file of a layer that is written here: `?path=` opens one that is there."""
    if layer.kind != Layer.Kind.FILES:
        raise Http404("This layer's files are not written here.")
    path = request.GET.get("path", "")
    known: dict[str, str] = layer.source.get("files", {})
    initial = {"path": path, "text": known.get(path, ""), "of": path}
    initial["was"] = version_of(known[path]) if path in known else ""
    form, status, theirs = LayerFileForm(request.POST or None, initial=initial), 422, None
    if form.is_valid():
        given = form.cleaned_data
        text = None if "delete" in request.POST else given["text"]
        try:
            services.write_layer_file(by=member(request), layer=layer, path=given["path"], text=text, was=form.seen)
        except FileChanged as error:
            theirs, status = error.current, 409
            form = form.again(was="" if theirs is None else version_of(theirs), of=given["path"])
        except ServerError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "Saved. Servers take it at their next start.")
            return redirect(_url(layer))
    context = {"layer": layer, "form": form, "is_known": path in known, "theirs": theirs}
    return render(request, "servers/layer_file.html", context, status=status if form.errors else 200)


def _initial(layer: Layer) -> dict[str, Any]:
    shared = ", ".join(layer.shared_with.values_list("username", flat=True))
    return {"name": layer.name, "visibility": layer.visibility, "shared_with": shared}


def _url(layer: Layer) -> str:
    return reverse("servers:layer", args=[layer.slug])
