"""The ordered layers of a server or a blueprint. Uppermost first: position 0 wins over what is below it.

A slot (`StackEntry.slot`) is a place in that order which says what belongs there, since the portal cannot bring it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from django.db import transaction

from servers import access
from servers.errors import FileChanged, LayerInvalid, ServerError
from servers.models import Blueprint, Layer, Server, StackEntry
from servers.own_file_models import version_of
from servers.services.common import locked, record

if TYPE_CHECKING:
    from portal.models import User

    Holder = Server | Blueprint

MOST = 100  # the kernel takes about 230 in one mount; a Workshop collection is one layer


def add_to_stack(*, by: "User", holder: "Holder", layer: Layer) -> None:
    """Put `layer` on top. Raises `LayerInvalid` (not for `by`, of another game, there already, full), `ServerGone`."""
    with _order(by, holder, f"add {layer.name}") as order:
        _require_usable(by, holder, layer)
        if _entry_of(order, layer.pk):
            raise LayerInvalid(f"{layer.name} is on the stack already.")
        _require_room(order)
        order.insert(0, StackEntry(layer=layer))


def remove_from_stack(*, by: "User", holder: "Holder", layer: int) -> None:
    """Take the layer of that number off, which leaves its slot empty if it has one; nothing happens when somebody did
    already."""
    with _order(by, holder, "remove a layer") as order:
        entry = _entry_of(order, layer)
        if entry and entry.slot:
            entry.layer = None
        elif entry:
            order.remove(entry)


def move_in_stack(*, by: "User", holder: "Holder", layer: int, to: int) -> None:
    """Move the layer to place `to`, 0 being the top. Raises `LayerInvalid` when it is not on the stack."""
    with _order(by, holder, "order layers") as order:
        entry = _entry_of(order, layer)
        if entry is None:
            raise LayerInvalid("That layer was taken off the stack meanwhile.")
        order.remove(entry)
        order.insert(to, entry)


def stack_version(entries: Iterable[StackEntry]) -> str:
    """Names this order of layers and slots: whoever replaces it says which one they saw."""
    return version_of(" ".join(f"{entry.layer_id}:{entry.slot}" for entry in entries))


def replace_stack(*, by: "User", holder: "Holder", layers: Sequence[Layer], was: str | None = None) -> None:
    """Make exactly these the stack, uppermost first; empty slots go. Layers that are on it already may stay, whoever's
    they are. `was`: the version that was seen, None to replace whatever is there. Raises as `add_to_stack` does, and
    `FileChanged`."""
    if len(layers) > MOST:
        raise LayerInvalid(f"A stack holds {MOST} layers at most.")
    if stranger := next((layer for layer in layers if layer.game != holder.game), None):
        raise LayerInvalid(f"{stranger.name} is for another game. Choose a layer for this one.")
    numbers = [layer.pk for layer in layers]
    with _order(by, holder, "set the layers") as order:
        if was not in (None, stack_version(order)):
            raise FileChanged("The stack", order)
        if len(Layer.objects.select_for_update(no_key=True).filter(pk__in=numbers)) != len(set(numbers)):
            raise LayerInvalid("One of the layers was deleted meanwhile.")
        for layer in layers:
            if not _entry_of(order, layer.pk):
                _require_allowed(by, layer)
        order[:] = [_entry_of(order, number) or StackEntry(layer_id=number) for number in dict.fromkeys(numbers)]


def add_slot(*, by: "User", holder: "Holder", label: str, hint: str, is_required: bool) -> None:
    """Put an empty slot on top. Raises `LayerInvalid`."""
    with _order(by, holder, f"add the slot {label}") as order:
        if not label or any(entry.slot == label for entry in order):
            raise LayerInvalid("Give the slot a name that no other one has.")
        _require_room(order)
        order.insert(0, StackEntry(slot=label, hint=hint, is_required=is_required))


def fill_slot(*, by: "User", holder: "Holder", slot: str, layer: Layer) -> None:
    """Put `layer` into the empty slot of that name. Filling a blueprint's fills it, where it is empty still, in the
    servers that were made from it. Raises as `add_to_stack` does."""
    with _order(by, holder, f"put {layer.name} into {slot}") as order:
        _require_usable(by, holder, layer)
        entry = next((entry for entry in order if entry.slot == slot and entry.layer_id is None), None)
        if entry is None:
            raise LayerInvalid("That slot was filled or left out meanwhile. Look at the page again.")
        if there := _entry_of(order, layer.pk):
            if there.slot:
                raise LayerInvalid(f"{layer.name} is in the slot “{there.slot}” already.")
            order.remove(there)
        entry.layer = layer
    if isinstance(holder, Blueprint):
        for server in Server.objects.present().filter(blueprint=holder, stack__slot=slot, stack__layer=None):
            with suppress(ServerError):  # deleted or filled at this moment: its own affair
                fill_slot(by=by, holder=server, slot=slot, layer=layer)


def drop_slot(*, by: "User", holder: "Holder", slot: str) -> None:
    """Leave out the empty slot of that name; nothing happens when it is filled or gone."""
    with _order(by, holder, f"leave out {slot}") as order:
        order[:] = [entry for entry in order if entry.slot != slot or entry.layer_id]


def copy_stack(*, source: "Holder", server: Server) -> None:
    """Give a new server the layers and slots of a blueprint or of another server."""
    copies = [
        StackEntry(
            layer_id=e.layer_id, server=server, position=e.position, slot=e.slot, hint=e.hint, is_required=e.is_required
        )
        for e in source.stack.all()
    ]
    StackEntry.objects.bulk_create(copies)


def _entry_of(order: list[StackEntry], layer: int) -> StackEntry | None:
    return next((entry for entry in order if entry.layer_id == layer), None)


def _require_allowed(by: "User", layer: Layer) -> None:
    if not access.may_use_layer(by, layer):
        raise LayerInvalid("That layer is not for you to use, or was deleted meanwhile.")


def _require_usable(by: "User", holder: "Holder", layer: Layer) -> None:
    """`by` may use the layer and it fits the game; its row is held, so that nobody deletes it now."""
    _require_allowed(by, layer)
    if layer.game != holder.game:
        raise LayerInvalid(f"{layer.name} is for another game. Choose a layer for this one.")
    if not Layer.objects.select_for_update(no_key=True).filter(pk=layer.pk).exists():
        raise LayerInvalid(f"{layer.name} was deleted meanwhile.")


def _require_room(order: list[StackEntry]) -> None:
    if len(order) >= MOST:
        raise LayerInvalid(f"A stack holds {MOST} layers at most. Take one off first.")


@contextmanager
def _order(by: "User", holder: "Holder", what: str) -> Iterator[list[StackEntry]]:
    """The entries, uppermost first, to be changed; the holder's row is locked meanwhile."""
    with _locked(holder) as fresh:
        order = list(fresh.stack.all())
        before = {entry.pk: (entry.position, entry.layer_id) for entry in order}
        yield order
        fresh.stack.exclude(pk__in=[entry.pk for entry in order]).delete()
        for position, entry in enumerate(order):
            if before.get(entry.pk) != (position, entry.layer_id):
                setattr(entry, type(fresh).__name__.lower(), fresh)
                entry.position = position
                entry.save()
        if isinstance(fresh, Server):
            record(by, fresh, "layers", what=what)


@contextmanager
def _locked(holder: "Holder") -> Iterator["Holder"]:
    if isinstance(holder, Server):
        with locked(holder) as server:
            yield server
    else:
        with transaction.atomic():
            fresh = Blueprint.objects.select_for_update().filter(pk=holder.pk).first()
            if fresh is None:
                raise LayerInvalid("That blueprint was deleted meanwhile.")
            yield fresh
