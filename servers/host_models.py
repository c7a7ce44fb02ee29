"""What the portal keeps about the machine itself. Part of `servers.models`, where everybody imports it from."""

from django.db import models


class HostReport(models.Model):
    """What the doctor last found on a node: `[{"name", "state", "detail"}, …]`; `servers/doctor` makes it."""

    node = models.OneToOneField("servers.Node", on_delete=models.CASCADE, primary_key=True, related_name="report")
    at = models.DateTimeField()
    checks = models.JSONField(default=list)

    class Meta:
        verbose_name = "host"

    def __str__(self) -> str:
        return self.node.name

    @property
    def wrong(self) -> list[str]:
        return [f"{check['name']}: {check['detail']}" for check in self.checks if check["state"] == "fail"]
