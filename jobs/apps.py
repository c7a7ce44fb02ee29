"""The generic job engine: jobs, streams of lines, the queue and the live feed."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "jobs"
    verbose_name = "Work"
