from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

FIELDS = [
    ("memory_mib", "Memory", "MiB; above it the game is ended.", 64, 1 << 20),
    ("cpu_percent", "CPU", "Percent of one core: 150 is 1.5.", 5, 12_800),
    ("tasks_max", "Tasks", "Processes and threads.", 16, 1024),
    ("open_files", "Open files", "Of each process.", 64, 16_384),
]


def limit(label, help_text, least, most):
    validators = [MinValueValidator(least), MaxValueValidator(most)]
    return models.PositiveIntegerField(label, blank=True, null=True, help_text=help_text, validators=validators)


def within(table):
    ranges = {f"{name}__range": (least, most) for name, _, _, least, most in FIELDS}
    return models.CheckConstraint(condition=models.Q(**ranges), name=f"{table}_limits_range")


class Migration(migrations.Migration):
    dependencies = [
        ("servers", "0013_index_samples_and_audit_by_age"),
    ]

    operations = [
        *(
            migrations.AddField(table, name, limit(*about))
            for table in ("blueprint", "server")
            for name, *about in FIELDS
        ),
        *(migrations.AddConstraint(table, within(table)) for table in ("blueprint", "server")),
    ]
