"""A member's deleted servers: what is kept of them and until when, and deleting one for good, which makes room."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from jobs.pages import member, members_only
from servers import services
from servers.disk import last_known
from servers.errors import ServerError
from servers.models import Server


@members_only
@require_http_methods(["GET", "POST"])
def deleted_servers(request: HttpRequest) -> HttpResponse:
    """Posting the number of one (`server`) deletes it for good."""
    user = member(request)
    kept = Server.objects.kept_for(user)
    if request.method == "GET":
        return render(request, "servers/deleted.html", {"servers": kept, "disk": last_known(user, reader=user)})
    number = request.POST.get("server", "")
    server = get_object_or_404(kept, pk=int(number) if number.isdecimal() and len(number) < 19 else 0)
    try:
        services.delete_for_good(by=user, server=server)
    except ServerError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{server.name} is being deleted for good.")
    return redirect("servers:deleted")
