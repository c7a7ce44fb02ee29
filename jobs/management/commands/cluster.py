"""`manage.py cluster`: run this node's jobs, in the foreground, until told to stop."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from jobs import cluster


class Command(BaseCommand):
    help = "Run the jobs of a node. SIGTERM lets running jobs finish for 20 seconds, then cancels them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--node", default=settings.NODE, help="Slug of the node, which names the queue.")
        parser.add_argument(
            "--workers", type=int, default=settings.Q_CLUSTER["workers"], help="How many jobs may run at once."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        sys.exit(cluster.run(node=options["node"], workers=options["workers"]))
