"""Forms about layers. What a source may be the services judge."""

import re
from typing import Any, Self
from uuid import UUID

from django import forms
from django.contrib.auth import get_user_model

from jobs.changed import ChangedFields
from servers import games
from servers.errors import UploadGone
from servers.models import Layer

MOST_IDS = 300
_ITEM = re.compile(r"(?:https?://steamcommunity\.com/\S*[?&]id=)?([0-9]{1,20})(?:[&#]\S*)?")
TOLD = "Somebody saved another text since you opened it. Both are here: save yours over theirs, or take theirs."
GONE = "Somebody deleted it since you opened it. Save it again, or leave it deleted."
CODE = {"rows": 14, "spellcheck": "false", "autocapitalize": "none", "autocomplete": "off", "class": "code"}


class NewLayerForm(forms.Form):
    """Name, game and who may use it; a form for each kind adds what it is made from."""

    name = forms.CharField(max_length=60, help_text="What members see on the list.")
    game = forms.ChoiceField()
    visibility = forms.ChoiceField(label="Who may use it", choices=Layer.Visibility.choices)
    field_order = ("name", "game", "visibility")  # before what a kind adds

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = sorted(games.all_games().values(), key=lambda game: (not game.addons, game.name))
        self.fields["game"].choices = [(game.slug, game.name) for game in known]  # type: ignore[attr-defined]

    @property
    def source(self) -> dict[str, Any]:
        """For `services.create_layer`."""
        return {}

    @property
    def upload(self) -> UUID | None:
        return None


class NewArchiveForm(NewLayerForm):
    """`upload` is filled in by js/upload.js once the file is here."""

    upload_key = forms.UUIDField(
        widget=forms.HiddenInput({"data-draft": True}),
        error_messages={"required": "Choose a file and wait until it is here.", "invalid": str(UploadGone())},
    )

    @property
    def upload(self) -> UUID:
        key: UUID = self.cleaned_data["upload_key"]
        return key


class RebuildForm(forms.Form):
    """Another file for an archive; the other kinds need none."""

    upload_key = forms.UUIDField(required=False)


class NewWorkshopForm(NewLayerForm):
    """`ids`: numbers or links of items and collections."""

    ids = forms.CharField(
        label="Items and collections",
        max_length=20_000,
        help_text="Numbers or links from the Steam Workshop, one a line. A collection brings all its items.",
        widget=forms.Textarea(attrs=CODE | {"rows": 6}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = games.all_games()
        choices = self.fields["game"].choices  # type: ignore[attr-defined]
        fitting = [(slug, name) for slug, name in choices if known[slug].addons and known[slug].appid]
        self.fields["game"].choices = fitting  # type: ignore[attr-defined]

    def clean_ids(self) -> list[str]:
        return workshop_ids(self.cleaned_data["ids"])

    @property
    def source(self) -> dict[str, Any]:
        return {"ids": self.cleaned_data["ids"]}


class WasForm(forms.Form):
    """What replaces a text says which version of it was seen, and can be shown again beside what is there by now."""

    was = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput({"data-draft": True}))

    def again(self, **now: str) -> Self:
        """The same as it was sent, to be saved over what somebody else saved meanwhile: `was`, and where that is."""
        form = type(self)({name: self[name].value() for name in self.fields} | now)
        form.add_error(None, TOLD if now["was"] else GONE)
        return form


class WorkshopForm(WasForm):
    """The items of a layer that is there already."""

    ids = forms.CharField(
        label="Items and collections", max_length=20_000, widget=forms.Textarea(attrs=CODE | {"rows": 6})
    )

    def clean_ids(self) -> list[str]:
        return workshop_ids(self.cleaned_data["ids"])


def workshop_ids(text: str) -> list[str]:
    """The numbers in lines of numbers or links, in their order. Raises `ValidationError` that names a line."""
    found: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _ITEM.fullmatch(line.strip()) if len(line.split()) == 1 else None
        if not match:
            raise forms.ValidationError(f"Line {number} is neither a number nor a link of the Steam Workshop.")
        found[match[1]] = None
    if len(found) > MOST_IDS:
        raise forms.ValidationError(f"Name {MOST_IDS} items at most, or make a collection of them.")
    return list(found)


class FileForm(forms.Form):
    """One file of a layer that is written in the browser."""

    path = forms.CharField(
        label="File",
        max_length=300,
        help_text="Where the game looks for it, such as left4dead2/cfg/server_custom.cfg.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    text = forms.CharField(
        required=False, strip=False, widget=forms.Textarea(attrs=CODE | {"data-editor": "auto"}), label="Content"
    )

    def clean_text(self) -> str:
        """As a browser sends it, lines end with CR LF."""
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")


class LayerFileForm(FileForm, WasForm):
    """The same of a layer that is there. `of`: the file that `was` is of, should another name have been typed."""

    of = forms.CharField(required=False, max_length=300, widget=forms.HiddenInput({"data-draft": True}))

    @property
    def seen(self) -> str:
        """The version that was seen of the file it is to be written to."""
        given = self.cleaned_data
        return str(given["was"]) if given["of"] == given["path"] else ""


class NewFilesForm(NewLayerForm, FileForm):
    """A layer that begins with one file."""

    @property
    def source(self) -> dict[str, Any]:
        return {"files": {self.cleaned_data["path"]: self.cleaned_data["text"]}}


class ScriptForm(WasForm):
    """What makes the files of a layer of the kind “script”."""

    script = forms.CharField(
        strip=False,
        max_length=64 << 10,
        help_text="For bash, which stops at the first command that fails. It begins in an empty folder, $LAYER; the "
        "files it leaves there are the layer. It sees the system's programs, and can write nowhere else but in /tmp.",
        widget=forms.Textarea(attrs=CODE | {"data-editor": "shell"}),
    )
    network = forms.BooleanField(label="It may use the network", required=False)

    def clean_script(self) -> str:
        """As a browser sends it, lines end with CR LF."""
        text: str = self.cleaned_data["script"]
        return text.replace("\r\n", "\n")

    @property
    def source(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("script", "network")}


class NewScriptForm(NewLayerForm, ScriptForm):
    """A layer that a script makes."""

    was = None  # type: ignore[assignment]  # there is none yet

    source = ScriptForm.source


class LayerForm(ChangedFields, forms.Form):
    """What can be changed of a layer without building it."""

    name = forms.CharField(max_length=60)
    visibility = forms.ChoiceField(label="Who may use it", choices=Layer.Visibility.choices)
    shared_with = forms.CharField(
        label="Members", required=False, max_length=2000, help_text="Names separated by commas, for “members I name”."
    )

    def clean_shared_with(self) -> list[Any]:
        names = names_in(self.cleaned_data["shared_with"])
        found = {user.username.lower(): user for user in get_user_model().objects.filter(username__in=names)}
        if missing := sorted(name for name in names if name.lower() not in found):
            raise forms.ValidationError(f"There is no member called {missing[0]}. Check how they spell it.")
        return list(found.values())

    def for_service(self) -> dict[str, Any]:
        """For `services.change_layer`: what was changed, and what it was."""
        plain = [name for name in self.changed_data if name != "shared_with"]
        before, wanted = names_in(self.seen("shared_with")), self.cleaned_data["shared_with"]
        kept = {user.username.lower() for user in wanted}
        return {
            "changes": {name: self.cleaned_data[name] for name in plain},
            "seen": {name: self.seen(name) for name in plain},
            "share": [user for user in wanted if user.username.lower() not in {name.lower() for name in before}],
            "unshare": [name for name in before if name.lower() not in kept],
        }


def names_in(text: str) -> set[str]:
    """Names of members between commas."""
    return {name.strip() for name in text.split(",") if name.strip()}
