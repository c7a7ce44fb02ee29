"""Giving a server its ports: the lowest free of each of its game's ranges, as the database's constraint decides."""

from collections.abc import Collection, Iterable, Iterator
from operator import attrgetter

from django.db import IntegrityError, transaction

from servers import games
from servers.errors import NoFreePort
from servers.models import Server, ServerPort
from servers.services.common import locked, record, violated

ATTEMPTS = 100  # each lost one means that somebody else got a server


def give_ports(server: Server, game: "games.Game") -> None:
    """Give `server` every port its game asks for. Raises `NoFreePort` and then gives none."""
    _give(server, game, [port.name for port in game.ports], blocked=())


def move_ports(*, server: Server, blocked: Collection[int]) -> None:
    """Give `server` others in place of those of its ports that are `blocked`, since something else on its node uses
    them, and those that its game's definition has come to ask for.

    Raises `NoFreePort` and then changes nothing, `ServerGone`, `servers.games.UnknownGame`.
    """
    game = games.get(server.game)
    with locked(server) as fresh:
        fresh.ports.filter(number__in=blocked).delete()
        held = set(fresh.ports.values_list("name", flat=True))
        if names := [port.name for port in game.ports if port.name not in held]:
            _give(fresh, game, names, blocked=blocked)
            record(None, fresh, "ports", ports=dict(fresh.ports.values_list("name", "number")))


def _give(server: Server, game: "games.Game", names: Iterable[str], *, blocked: Collection[int]) -> None:
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                # In the order of their numbers, lest two servers wait for each other's.
                chosen = sorted(_lowest_free(server, game, names, blocked), key=attrgetter("number"))
                ServerPort.objects.bulk_create(chosen)
            return
        except IntegrityError as error:
            if violated(error) != "port_taken":
                raise
    raise NoFreePort(f"Too many servers are being made on {server.node} at once. Try again in a moment.")


def _lowest_free(
    server: Server, game: "games.Game", names: Iterable[str], blocked: Collection[int]
) -> Iterator[ServerPort]:
    taken = {*ServerPort.objects.filter(node=server.node).values_list("number", flat=True), *blocked}
    for port in game.ports:
        if port.name not in names:
            continue
        number = next((number for number in port.numbers if number not in taken), None)
        if number is None:
            raise NoFreePort(
                f"All {game.name} ports ({port.first} to {port.last}) on {server.node} are in use. "
                "Delete a server you no longer need, or ask an admin for more ports."
            )
        taken.add(number)
        yield ServerPort(server=server, node=server.node, name=port.name, number=number)
