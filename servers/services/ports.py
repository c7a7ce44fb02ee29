"""Giving a server its ports: the lowest free of each of its game's ranges, as the database's constraint decides."""

from collections.abc import Iterator

from django.db import IntegrityError, transaction

from servers import games
from servers.errors import NoFreePort
from servers.models import Server, ServerPort
from servers.services.common import violated

ATTEMPTS = 100  # each lost one means that somebody else got a server


def give_ports(server: Server, game: "games.Game") -> None:
    """Give `server` every port its game asks for. Raises `NoFreePort` and then gives none."""
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                ServerPort.objects.bulk_create(_lowest_free(server, game))
            return
        except IntegrityError as error:
            if violated(error) != "port_taken":
                raise
    raise NoFreePort(f"Too many servers are being made on {server.node} at once. Try again in a moment.")


def _lowest_free(server: Server, game: "games.Game") -> Iterator[ServerPort]:
    taken = set(ServerPort.objects.filter(node=server.node).values_list("number", flat=True))
    for port in game.ports:
        number = next((number for number in port.numbers if number not in taken), None)
        if number is None:
            raise NoFreePort(
                f"All {game.name} ports ({port.first} to {port.last}) on {server.node} are given away. "
                "Delete a server you no longer need, or ask an admin for more ports."
            )
        taken.add(number)
        yield ServerPort(server=server, node=server.node, name=port.name, number=number)
