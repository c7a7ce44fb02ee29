"""Forms about servers. A game's settings become fields; the game's own `clean_settings` judges the values."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib.auth import get_user_model

from jobs.changed import ChangedFields
from servers import games
from servers.errors import NameInvalid
from servers.layer_models import LayerQuerySet
from servers.models import Blueprint, Pending, Right
from servers.services.creation import check_name

SLOT = "slot-"
PREFIX = "set-"  # keeps a game's setting called “name” apart from the server's name
PLAIN_FIELDS = 4  # settings in sight; the rest is folded


class SettingsForm(forms.Form):
    """A field for each setting of a game, with the game's labels, help, bounds and defaults."""

    def __init__(
        self, *args: Any, game: "games.Game", chosen: Mapping[str, Any], maps: Sequence[str] = (), **kwargs: Any
    ) -> None:
        """`maps`: of the layers, offered beside those that the game's definition has."""
        super().__init__(*args, **kwargs)
        self.game = game
        for setting in game.settings:
            value = chosen.get(setting.key, setting.default)
            more = maps if setting.key == game.actions.maps else ()
            self.fields[PREFIX + setting.key] = _field(setting, initial=value, more=more)

    @property
    def plain(self) -> list[forms.BoundField]:
        return self._setting_fields[:PLAIN_FIELDS]

    @property
    def advanced(self) -> list[forms.BoundField]:
        return self._setting_fields[PLAIN_FIELDS:]

    @property
    def advanced_has_errors(self) -> bool:
        return any(field.errors for field in self.advanced)

    @property
    def _setting_fields(self) -> list[forms.BoundField]:
        return [self[PREFIX + setting.key] for setting in self.game.settings]

    def clean(self) -> dict[str, Any]:
        """`cleaned_data["settings"]`: typed values by key. A field left empty is the game's default."""
        given = {setting.key: self.cleaned_data.get(PREFIX + setting.key) for setting in self.game.settings}
        kept = {key: value for key, value in given.items() if value not in (None, "") or _may_be_empty(self.game, key)}
        try:
            self.cleaned_data["settings"] = self.game.clean_settings(kept)
        except games.SettingsError as error:
            for key, sentence in error.by_key.items():
                self.add_error(PREFIX + key if PREFIX + key in self.fields else None, sentence)
        return self.cleaned_data


def _may_be_empty(game: "games.Game", key: str) -> bool:
    return game.settings_by_key[key].type in ("string", "password")


def _field(setting: Any, *, initial: Any, more: Sequence[str]) -> forms.Field:
    shared = {"label": setting.label, "help_text": setting.help, "initial": initial, "required": False}
    match setting.type:
        case "boolean":
            return forms.BooleanField(**shared)
        case "choice":
            return forms.ChoiceField(**shared, choices=list(setting.choices.items()))
        case "integer":
            bounds = {"min": setting.min, "max": setting.max, "inputmode": "numeric"}
            return forms.CharField(**shared, widget=forms.NumberInput(attrs=bounds), max_length=20)
        case _:
            return forms.CharField(**shared, strip=True, widget=_text_widget(setting, more))


def _text_widget(setting: Any, more: Sequence[str]) -> forms.TextInput:
    attrs: dict[str, Any] = {"maxlength": setting.max_length, "autocomplete": "off", "spellcheck": "false"}
    if setting.type == "password":
        attrs["data-secret"] = True  # the browser keeps no draft of it
    return SuggestingInput(attrs=attrs, suggestions=tuple(dict.fromkeys([*setting.suggestions, *more])))


class SuggestingInput(forms.TextInput):
    """A text field that offers values and takes any other."""

    template_name = "servers/_suggesting_input.html"

    def __init__(self, *, attrs: dict[str, Any], suggestions: tuple[str, ...]) -> None:
        super().__init__(attrs)
        self.suggestions = suggestions

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        context["suggestions"] = self.suggestions
        return context


class ChangeSettingsForm(ChangedFields, SettingsForm):
    """The settings of a server that is there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_twins()

    @property
    def changes(self) -> dict[str, Any]:
        """By key, the settings that were changed; None where one is to be the default again."""
        given: dict[str, Any] = self.cleaned_data["settings"]
        return {key: given.get(key) for key in self._changed_keys}

    @property
    def seen_values(self) -> dict[str, Any]:
        """What those were as the page was rendered, as they are stored."""
        return {key: self.game.settings_by_key[key].read(self.seen(PREFIX + key)) for key in self._changed_keys}

    @property
    def _changed_keys(self) -> list[str]:
        return [name.removeprefix(PREFIX) for name in self.changed_data]


class NewServerForm(SettingsForm):
    """Blueprint, name and settings of a new server."""

    name = forms.CharField(
        label="Name in the portal",
        max_length=100,
        help_text="Small letters, digits and hyphens, 32 at most. It is part of the address of the server's page.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    follow = forms.BooleanField(
        label="Follow the blueprint",
        help_text="What a moderator changes in it later reaches the server at its next start. Else it is copied now.",
        required=False,
    )

    def __init__(
        self, *args: Any, blueprint: Blueprint, offered: list[Blueprint], usable: LayerQuerySet, **kwargs: Any
    ) -> None:
        """`usable`: the layers the member may put into the blueprint's empty slots."""
        super().__init__(*args, chosen=blueprint.settings, **kwargs)
        self.slots = list(blueprint.stack.filter(layer=None))
        self.layers = {layer.slug: layer for layer in usable.filter(game=blueprint.game)} if self.slots else {}
        for slot in self.slots:
            later = "Choose later: it does not start before" if slot.is_required else "None"
            choices = [("", later), *((slug, layer.name) for slug, layer in self.layers.items())]
            self.fields[f"{SLOT}{slot.pk}"] = forms.ChoiceField(
                label=slot.slot, help_text=slot.hint, choices=choices, required=False
            )
        self.fields["blueprint"] = forms.ModelChoiceField(
            Blueprint.objects.filter(pk__in=[one.pk for one in offered]), to_field_name="slug"
        )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            check_name(name)
        except NameInvalid as error:
            raise forms.ValidationError(str(error)) from error
        return name

    @property
    def slot_fields(self) -> list[forms.BoundField]:
        return [self[f"{SLOT}{slot.pk}"] for slot in self.slots]

    def clean(self) -> dict[str, Any]:
        """`cleaned_data["slots"]` besides: the layers chosen, by the slot's label."""
        super().clean()
        chosen = {slot.slot: self.cleaned_data.get(f"{SLOT}{slot.pk}") for slot in self.slots}
        self.cleaned_data["slots"] = {label: self.layers[slug] for label, slug in chosen.items() if slug}
        return self.cleaned_data


class SlotForm(forms.Form):
    """A place on a blueprint's stack, and what belongs there."""

    label = forms.CharField(max_length=60)
    hint = forms.CharField(max_length=300, required=False)
    is_required = forms.BooleanField(required=False)


RIGHT_LABELS = {
    Right.POWER: "Start, stop and restart it",
    Right.CONSOLE: "Read its console",
    Right.RCON: "Send it console commands",
    Right.FILES: "Change its files",
    Right.SETTINGS: "Change its settings",
    Right.MEMBERS: "Share it with others",
}


class ShareForm(forms.Form):
    """Whom a server is shared with, and what they may do."""

    username = forms.CharField(label="Member", max_length=150, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    rights = forms.MultipleChoiceField(
        choices=[(right.value, label) for right, label in RIGHT_LABELS.items()],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    def clean_username(self) -> Any:
        name = self.cleaned_data["username"]
        user = get_user_model().objects.filter(username__iexact=name, is_active=True).first()
        if user is None:
            raise forms.ValidationError(f"There is no member called {name}. Check how they spell it.")
        return user


class DeleteForm(forms.Form):
    """The name typed again, so that nobody deletes the wrong server."""

    confirm = forms.CharField(max_length=100, widget=forms.TextInput(attrs={"autocomplete": "off"}))

    def __init__(self, *args: Any, name: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = name
        self.fields["confirm"].label = f"Type {name} to delete it"

    def clean_confirm(self) -> str:
        if self.cleaned_data["confirm"].strip() != self.name:
            raise forms.ValidationError(f"That is not its name. Type {self.name} exactly, or go back.")
        return self.name


class CommandForm(forms.Form):
    """One command for a running game."""

    command = forms.CharField(max_length=1000, strip=True)


class PlayerForm(forms.Form):
    """The player's name as it was shown, to find out whether the number is still theirs. Nothing of it is cut off."""

    player_name = forms.CharField(max_length=500, strip=False, required=False)


class MessageForm(forms.Form):
    """A line for the chat; the service says what is wrong with it."""

    text = forms.CharField(max_length=1000)


EMPTY = 0
COUNTDOWNS = {60: "in 1 minute", 300: "in 5 minutes", 600: "in 10 minutes", 1800: "in 30 minutes"}


class LaterForm(forms.Form):
    """A stop or restart that waits for `when`: seconds, counted down in chat, or `EMPTY`: until nobody plays."""

    verb = forms.ChoiceField(label="What", choices=Pending.Verb.choices)

    def __init__(self, *args: Any, game: "games.Game | None", **kwargs: Any) -> None:
        """Offers what the game can do: answer who plays, and take messages."""
        super().__init__(*args, **kwargs)
        self.offered = {EMPTY: "once nobody plays"} if game and game.query else {}
        if game and game.actions.say:
            self.offered |= {seconds: f"{words}, announced" for seconds, words in COUNTDOWNS.items()}
        self.fields["when"] = forms.TypedChoiceField(label="When", coerce=int, choices=list(self.offered.items()))


class LevelForm(forms.Form):
    """A map."""

    level = forms.CharField(max_length=200)
