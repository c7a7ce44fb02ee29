"""The ordered layers of a server or a blueprint. Uppermost first: position 0 wins over what is below it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import transaction

from servers.errors import LayerInvalid
from servers.models import Blueprint, Layer, Server, StackEntry
from servers.services.common import locked, record

if TYPE_CHECKING:
    from portal.models import User

    Holder = Server | Blueprint

MOST = 100  # the kernel takes about 230 in one mount; a Workshop collection is one layer


def add_to_stack(*, by: "User", holder: "Holder", layer: Layer) -> None:
    """Put `layer` on top. Raises `LayerInvalid` (another game's, on it already, too many), `ServerGone`."""
    if layer.game != holder.game:
        raise LayerInvalid(f"{layer.name} is for another game. Choose a layer for this one.")
    with _order(by, holder, f"add {layer.name}") as order:
        if not Layer.objects.select_for_update(no_key=True).filter(pk=layer.pk).exists():
            raise LayerInvalid(f"{layer.name} was deleted meanwhile.")
        if layer.pk in order:
            raise LayerInvalid(f"{layer.name} is on the stack already.")
        if len(order) >= MOST:
            raise LayerInvalid(f"A stack holds {MOST} layers at most. Take one off first.")
        order.insert(0, layer.pk)


def remove_from_stack(*, by: "User", holder: "Holder", layer: int) -> None:
    """Take the layer of that number off; nothing happens when somebody did already."""
    with _order(by, holder, "remove a layer") as order:
        if layer in order:
            order.remove(layer)


def move_in_stack(*, by: "User", holder: "Holder", layer: int, to: int) -> None:
    """Move the layer to place `to`, 0 being the top. Raises `LayerInvalid` when it is not on the stack."""
    with _order(by, holder, "order layers") as order:
        if layer not in order:
            raise LayerInvalid("That layer was taken off the stack meanwhile.")
        order.remove(layer)
        order.insert(to, layer)


def replace_stack(*, by: "User", holder: "Holder", layers: Sequence[Layer]) -> None:
    """Make exactly these the stack, uppermost first. Raises as `add_to_stack` does."""
    if len(layers) > MOST:
        raise LayerInvalid(f"A stack holds {MOST} layers at most.")
    if stranger := next((layer for layer in layers if layer.game != holder.game), None):
        raise LayerInvalid(f"{stranger.name} is for another game. Choose a layer for this one.")
    numbers = [layer.pk for layer in layers]
    with _order(by, holder, "set the layers") as order:
        if len(Layer.objects.select_for_update(no_key=True).filter(pk__in=numbers)) != len(set(numbers)):
            raise LayerInvalid("One of the layers was deleted meanwhile.")
        order[:] = dict.fromkeys(numbers)


def copy_stack(*, source: "Holder", server: Server) -> None:
    """Give a new server the layers of a blueprint or of another server."""
    copies = [StackEntry(layer_id=e.layer_id, server=server, position=e.position) for e in source.stack.all()]
    StackEntry.objects.bulk_create(copies)


@contextmanager
def _order(by: "User", holder: "Holder", what: str) -> Iterator[list[int]]:
    """The layers' numbers, uppermost first, to be changed; the holder's row is locked meanwhile."""
    with _locked(holder) as fresh:
        entries = {entry.layer_id: entry for entry in fresh.stack.all()}
        yield (order := list(entries))
        fresh.stack.exclude(layer__in=order).delete()
        for position, layer in enumerate(order):
            entry = entries.get(layer) or StackEntry(layer_id=layer, **{type(fresh).__name__.lower(): fresh})
            if entry.pk is None or entry.position != position:
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
            yield Blueprint.objects.select_for_update().get(pk=holder.pk)
