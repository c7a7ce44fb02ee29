"""`manage.py cluster`: run this node's jobs, in the foreground, until told to stop."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from jobs import cluster


class Command(BaseCommand):
    help = "Run the jobs of a node. SIGTERM lets running jobs finish, within limits, and takes no new ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--node", default=settings.NODE, help="Slug of the node, which names the queue.")
        parser.add_argument(
            "--workers", type=int, default=settings.Q_CLUSTER["workers"], help="How many jobs may run at once."
        )
        parser.add_argument(
            "--patience", type=float, default=20, help="Seconds running jobs are given when it is told to stop."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["workers"] < 2:
            self.stderr.write("With one worker nothing is reserved for starts and stops: they wait for builds.")
        sys.exit(cluster.run(node=options["node"], workers=options["workers"], patience=options["patience"]))
