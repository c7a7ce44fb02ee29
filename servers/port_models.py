"""The ports that servers have."""

from django.db import models
from django.db.models import Q


class ServerPort(models.Model):
    """A port given to a server; the constraint keeps two servers of a node apart."""

    server = models.ForeignKey("servers.Server", on_delete=models.CASCADE, related_name="ports")
    node = models.ForeignKey("servers.Node", on_delete=models.PROTECT, related_name="+")
    name = models.SlugField(max_length=20, help_text="As the game's definition calls it: game, query, rcon…")
    number = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["node", "number"], name="port_taken"),
            models.UniqueConstraint(fields=["server", "name"], name="port_named_once"),
            models.CheckConstraint(condition=Q(number__range=(1024, 65535)), name="port_range"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.number}"
