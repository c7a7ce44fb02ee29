"""`manage.py web`: the pages, the API and the sockets."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal import web
from portal.reach import Reach, ReachError


class Command(BaseCommand):
    help = "Serve pages, API and websockets; any number of these may run beside each other."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to listen on (127.0.0.1).")
        parser.add_argument("--port", type=int, help="TCP port (8000, when no other endpoint is given).")
        parser.add_argument("--unix", action="append", default=[], metavar="PATH", help="Unix socket; repeatable.")
        parser.add_argument("--fd", type=int, help="Socket already listening, as systemd hands over (3).")
        parser.add_argument(
            "--behind-proxy",
            action="store_true",
            help="Believe X-Forwarded-For and -Proto, which your proxy must set. Implied when only on unix sockets.",
        )

        parser.add_argument(
            "--public", action="store_true", help="Listen on a public address although games run without units."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.RUNTIME == "local" and options["port"] is not None and not options["public"]:
            try:
                Reach.of(options["host"], options["port"], check=False).refuse_public()
            except ReachError as error:
                raise CommandError(str(error)) from error
        given = {name: options[name] for name in ("host", "port", "unix", "fd", "behind_proxy")}
        if not web.serve(**given):
            raise CommandError("The web process could not listen; is another one on that address?")
