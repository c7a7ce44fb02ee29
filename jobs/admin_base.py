"""What every page of the admin shares: who may use it, and actions that say what they will do before they do it.

Moderators are `is_staff`: that alone opens everything registered here, so Django's table of model permissions is not
used (portal/admin.py hides groups). What only administrators may do is decided by the services. Rows are changed by
services alone, so most pages are read-only and nothing is deleted from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.sites import AdminSite
from django.db import IntegrityError, connection
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.decorators import action as unfold_action

from jobs.changed import ChangedFields, ChangedModelForm

LONGEST_NUMBER = 20  # digits


class ModeratorAdmin(ModelAdmin):
    """A model that moderators may look at and, unless it is a `ReadOnlyAdmin`, edit."""

    list_per_page = 50

    def __init__(self, model: type[Model], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        self.actions_detail = tuple(self.actions)  # type: ignore[assignment,arg-type]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.admin_site.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.admin_site.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **named: Any) -> Any:
        """Once more where somebody else has just taken the same name: now the form finds it and says so."""
        try:
            shown = super().changeform_view(request, *args, **named)
        except IntegrityError:
            shown = super().changeform_view(request, *args, **named)
        if (getattr(shown, "context_data", None) or {}).get("errors"):
            shown.status_code = 422  # as all our forms; the page keeps what was typed as not saved (js/drafts.js)
        return shown

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """A row whose form stores only what was changed is locked from its reading to its saving."""
        found = super().get_object(request, object_id, from_field)
        if (
            found
            and request.method == "POST"
            and issubclass(self.form, ChangedModelForm)
            and connection.in_atomic_block
        ):
            return self.model._base_manager.select_for_update().get(pk=found.pk)
        return found

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **named: Any) -> Any:
        """Django looks up whatever was sent as the number of a row, and breaks where it is none."""
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(one.isascii() and one.isdecimal() and len(one) < LONGEST_NUMBER for one in chosen):
            messages.error(request, "Choose rows of the list.")
            return redirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **named)

    def page(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        """A page of our own in the admin's frame."""
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), "opts": self.model._meta, **context}
        )


class ReadOnlyAdmin(ModeratorAdmin):
    """A model that can only be looked at and acted upon."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ChangedOfOneForm(ChangedFields, forms.Form):
    """A form of `Confirmed`: of a row that is alone, and so was shown, it has only what was changed."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.initial:
            return cleaned
        self.tell(name for name in self.conflicts() if name in cleaned)
        return {name: cleaned[name] for name in self.changed_data if name in cleaned}


@dataclass(frozen=True)
class Confirmed:
    """Makes a method an action that is carried out only after a page has said what it does, and to what.

    The method gets a request, one row and the form's cleaned values, and returns a sentence or a whole page. It is
    offered for chosen rows of the list and on a row's own page. `initial` fills in the form for a row that is alone.
    """

    title: str
    explain: str
    refusals: tuple[type[Exception], ...]
    form: type[forms.Form] = forms.Form
    most: int = 100  # rows at once
    initial: Callable[[Any], dict[str, Any]] = lambda row: {}

    def __call__(self, act: Callable[..., str | HttpResponse]) -> Callable[..., HttpResponse | None]:
        @wraps(act)
        def action(
            admin: ModeratorAdmin, request: HttpRequest, chosen: Any = None, *, object_id: str = ""
        ) -> HttpResponse | None:
            alone = admin.get_object(request, object_id) if object_id else None
            found = [alone] if alone else list((chosen or [])[: self.most + 1])
            back = redirect("..") if object_id else None
            if not found or len(found) > self.most:
                messages.error(request, f"Choose {self.most} at most, of those that are still there.")
                return back
            initial = self.initial(found[0]) if len(found) == 1 else {}
            asked = self.form(request.POST if "confirmed" in request.POST else None, initial=initial)
            if not asked.is_valid():
                return self._ask(admin, request, found, asked, act.__name__)
            return self._carry_out(act, admin, request, found, asked.cleaned_data) or back

        offered: Callable[..., HttpResponse | None] = unfold_action(description=self.title)(action)  # type: ignore[operator]
        return offered

    def _ask(
        self, admin: ModeratorAdmin, request: HttpRequest, rows: list[Model], form: forms.Form, name: str
    ) -> HttpResponse:
        context = {"title": self.title, "explain": self.explain, "rows": rows, "form": form}
        return admin.page(request, "admin/confirm.html", action=name, checkbox=ACTION_CHECKBOX_NAME, **context)

    def _carry_out(
        self, act: Any, admin: ModeratorAdmin, request: HttpRequest, rows: list[Model], values: dict[str, Any]
    ) -> HttpResponse | None:
        done: list[str] = []
        for row in rows:
            try:
                result = act(admin, request, row, **values)
            except self.refusals as error:
                messages.error(request, str(error))
                continue
            if isinstance(result, HttpResponse):
                return result
            done.append(result)
        if done:
            messages.success(request, " ".join(done))
        return None
