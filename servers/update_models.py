"""What the portal keeps about newer versions of games, and whether it may install them by itself."""

from django.db import models


class UpdateCheck(models.Model):
    """What is known of newer versions of a game than a node has."""

    node = models.ForeignKey("servers.Node", on_delete=models.CASCADE, related_name="update_checks")
    game = models.SlugField(max_length=63)
    newest = models.CharField(max_length=100, blank=True, help_text="The version that an installation would give.")
    checked_at = models.DateTimeField(null=True, editable=False, help_text="When that was found out.")
    asked_at = models.DateTimeField(null=True, editable=False, help_text="When it was last tried to find out.")
    auto_update = models.BooleanField(default=False, help_text="Install a newer version as soon as it is found.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "game"], name="update_check_once")]

    def __str__(self) -> str:
        return f"{self.game} on {self.node}"
