"""What runs: games, installations, blueprints, servers, members' rights and the host runtime."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class ServersConfig(AppConfig):
    name = "servers"
    verbose_name = "Servers"

    def ready(self) -> None:
        autodiscover_modules("tasks", "installation_tasks", "layers.tasks")  # job kinds register themselves at import
