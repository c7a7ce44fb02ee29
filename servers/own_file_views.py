"""Pages about the config files that members write by hand for one server: the list, and one file."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from jobs.pages import member
from servers import access, games, own_files, services, truth
from servers.errors import FileChanged, FileInvalid, ServerError
from servers.models import Right, Server
from servers.own_file_forms import OwnFileForm
from servers.views import head_context, server_page


@require_safe
@server_page(Right.FILES)
def file_list(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/own_files.html", head_context(request, server) | list_context(server))


@require_safe
@server_page(Right.FILES)
def file_list_part(request: HttpRequest, server: Server) -> HttpResponse:
    return render(request, "servers/_own_files.html", head_context(request, server) | list_context(server))


def list_context(server: Server) -> dict[str, Any]:
    """A row for each file: those the settings make, and those by hand."""
    game = games.all_games().get(server.game)
    by_hand = {file.path: file for file in server.own_files.select_related("updated_by").defer("text")}
    made = list(own_files.generated(game)) if game else []
    rows = [
        {"path": path, "file": by_hand.get(path), "is_generated": path in made}
        for path in [*made, *(path for path in by_hand if path not in made)]
    ]
    later = server.is_live and any(not file.is_started for file in by_hand.values())
    return {"rows": rows, "later": later, "editable": game.editable if game else (), "tab": "settings"}


@require_http_methods(["GET", "POST"])
@server_page(Right.FILES)
def own_file(request: HttpRequest, server: Server) -> HttpResponse:
    """One file: `?path=` opens one that is there or that the settings make."""
    context = head_context(request, server) | {"tab": "settings"}
    game = games.all_games().get(server.game)
    if game is None:
        return render(request, "servers/own_file.html", context)
    path, status = request.GET.get("path", ""), 422
    file = server.own_files.select_related("updated_by").filter(path=path).first() if path.isprintable() else None
    initial = {"path": path, "text": file.text if file else "", "was": file.version if file else ""}
    fixed = file is not None or path in own_files.generated(game)
    form = OwnFileForm(request.POST or None, initial=initial, game=game, fixed=fixed)
    if form.is_valid():
        try:
            done = _write(request, server, form)
        except FileChanged as error:
            form, status = form.again(error.current), 409
            context["theirs"] = error.current
        except FileInvalid as error:
            form.add_error(error.field, error.problems)
        except ServerError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, done)
            return redirect("servers:own_files", server.name)
    context |= {"form": form, "file": file} | _generated(request, server, game, form["path"].value())
    return render(request, "servers/own_file.html", context, status=status if form.errors else 200)


def _write(request: HttpRequest, server: Server, form: OwnFileForm) -> str:
    """What the member pressed, done; returns what to say of it."""
    given, user = form.cleaned_data, member(request)
    later = " That holds from the next start." if server.is_live else ""
    if "delete" in request.POST:
        services.delete_own_file(by=user, server=server, path=given["path"], was=given["was"])
        return f"What was written by hand in {given['path']} is deleted.{later}"
    services.write_own_file(by=user, server=server, path=given["path"], text=given["text"], was=given["was"])
    return f"{given['path']} is saved.{later}"


def _generated(request: HttpRequest, server: Server, game: "games.Game", path: str) -> dict[str, Any]:
    """What the settings make of the file, for showing it; or why it is not shown."""
    if path not in own_files.generated(game):
        return {}
    if Right.SETTINGS not in access.rights(member(request), server):
        return {"is_generated": True, "problem": "What the settings make of it is for those who may see the settings."}
    try:
        return {"is_generated": True, "generated": truth.config_files(server, game)[path]}
    except (games.SettingsError, games.RenderError) as error:
        return {"is_generated": True, "problem": str(error)}
