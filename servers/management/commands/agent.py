"""`manage.py agent`: watches the games of this node until SIGTERM. One runs per node."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from servers import seeds
from servers.agent.keeper import Agent, AlreadyRunning


class Command(BaseCommand):
    help = "Watch this node's games: their states, consoles and queries. One agent runs per node."

    def handle(self, *args: Any, **options: Any) -> None:
        agent = Agent(seeds.ensure_node())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, agent.stop)
        try:
            agent.run()
        except AlreadyRunning as error:
            raise CommandError(str(error)) from error
