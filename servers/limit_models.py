"""Limits as a moderator sets them on a blueprint or a server; `servers.limits` says what comes of them."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from servers.limits import BOUNDS


def _within(name: str) -> list[MinValueValidator | MaxValueValidator]:
    least, most = BOUNDS[name]
    return [MinValueValidator(least), MaxValueValidator(most)]


class Limited(models.Model):
    """What is empty is for the blueprint, else the game's definition, else the portal to say."""

    memory_mib = models.PositiveIntegerField(
        "Memory", null=True, blank=True, validators=_within("memory_mib"), help_text="MiB; above it the game is ended."
    )
    cpu_percent = models.PositiveIntegerField(
        "CPU", null=True, blank=True, validators=_within("cpu_percent"), help_text="Percent of one core: 150 is 1.5."
    )
    tasks_max = models.PositiveIntegerField(
        "Tasks", null=True, blank=True, validators=_within("tasks_max"), help_text="Processes and threads."
    )
    open_files = models.PositiveIntegerField(
        "Open files", null=True, blank=True, validators=_within("open_files"), help_text="Of each process."
    )

    class Meta:
        abstract = True


def limits_constraint(table: str) -> models.CheckConstraint:
    """NULL is within any range."""
    within = Q(**{f"{name}__range": bounds for name, bounds in BOUNDS.items()})
    return models.CheckConstraint(condition=within, name=f"{table}_limits_range")
