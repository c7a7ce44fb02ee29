"""`manage.py prepare`: what a database needs after `migrate`, for the installer. Safe to run again."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser

from servers import seeds
from servers.models import Node


class Command(BaseCommand):
    help = "Make this machine known as a node and seed the blueprints; existing ones are left alone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--address", metavar="HOST", help="Where players connect to this node's servers.")
        parser.add_argument("--has-admin", action="store_true", help="Only exit with 0 when there is an admin.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["has_admin"]:
            raise SystemExit(0 if get_user_model().objects.filter(is_superuser=True, is_active=True).exists() else 1)
        node = seeds.ensure_node()
        seeds.seed_blueprints()
        if options["address"]:
            Node.objects.filter(pk=node.pk).update(address=options["address"])
