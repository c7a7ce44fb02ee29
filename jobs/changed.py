"""Forms about what is there already. Each field has a hidden twin with what it was rendered with: only what somebody
changed is stored, and what somebody else made of the same field meanwhile is told instead of undone."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms

SHOWN = 60  # characters of somebody else's value
if TYPE_CHECKING:
    _Base = forms.BaseForm
else:
    _Base = object


class ChangedFields(_Base):
    """Mixin. `changed_data` are the fields that hold another value than they were rendered with."""

    data: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_twins()

    def add_twins(self) -> None:
        """For who adds fields later."""
        for field in self.fields.values():
            field.show_hidden_initial = not isinstance(field.widget, forms.HiddenInput)

    @property
    def changed_data(self) -> list[str]:
        return [name for name in self.fields if self._typed(name) != self.seen(name)]

    def seen(self, name: str) -> Any:
        """What the field was rendered with; of a form without twins, what is there now."""
        twin = self[name].html_initial_name
        return self._read(name, self.data[twin]) if twin in self.data else self.now(name)

    def now(self, name: str) -> Any:
        return self._read(name, self._twin_now(name))

    def conflicts(self) -> list[str]:
        """Changed fields that somebody else has changed too, to another value."""
        return [name for name in self.changed_data if self.now(name) not in (self.seen(name), self._typed(name))]

    def tell(self, names: Iterable[str]) -> None:
        """Show the form again, to be saved over what somebody else made of these fields."""
        self.data = self.data.copy()
        for name in names:
            text = self._twin_now(name) or ""
            secret = "data-secret" in self.fields[name].widget.attrs
            done = "changed it" if secret else f"changed it to “{text[:SHOWN]}”" if text else "emptied it"
            said = f"Somebody {done} since you opened this page. Save again to have it as you typed it."
            self.add_error(name, said)
            self.data[self[name].html_initial_name] = text

    def _twin_now(self, name: str) -> str | None:
        field = self.fields[name]
        text: str | None = field.hidden_widget().format_value(field.prepare_value(self[name].initial))
        return text

    def _typed(self, name: str) -> Any:
        return self._read(name, self[name].data)

    def _read(self, name: str, value: Any) -> Any:
        try:
            return self.fields[name].to_python(value)
        except forms.ValidationError:
            return value


class ChangedModelForm(ChangedFields, forms.ModelForm):  # type: ignore[type-arg]
    """Of a row that is locked while it is saved (`ModeratorAdmin.get_object`)."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if self.instance.pk:
            self.tell(name for name in self.conflicts() if name not in self.errors)
        return cleaned

    def _post_clean(self) -> None:
        for name in set(self.cleaned_data) - set(self.changed_data) if self.instance.pk else ():
            del self.cleaned_data[name]
        super()._post_clean()  # type: ignore[misc]
