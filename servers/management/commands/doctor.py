"""`manage.py doctor`: is this machine what the portal needs, and is what runs what the database says?"""

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from servers import services
from servers.doctor import Check, State, examine
from servers.doctor.check import as_portal

STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}
AGAIN_EVERY = 1.0  # seconds


class Command(BaseCommand):
    help = "Examine this machine and the portal on it. Exits with 1 when something is wrong."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the findings as JSON.")
        parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="Give things time to come right.")

        parser.add_argument("--save", action="store_true", help="Also keep the findings for the admin's page Hosts.")

    def handle(self, *args: Any, **options: Any) -> None:
        limit = time.monotonic() + options["wait"]
        while True:
            checks = list(examine())
            failed = any(check.state is State.FAIL for check in checks)
            if not failed or time.monotonic() > limit:
                break
            time.sleep(AGAIN_EVERY)
        if options["save"]:
            with as_portal():
                services.record_host_report(checks=checks)
        if options["json"]:
            found = [{"name": check.name, "state": check.state, "detail": check.detail} for check in checks]
            self.stdout.write(json.dumps({"ok": not failed, "checks": found}, indent=1))
        else:
            self._print(checks)
        if failed:
            raise SystemExit(1)

    def _print(self, checks: list[Check]) -> None:
        table = Table(box=None, pad_edge=False)
        for title in ("", "what", "found"):
            table.add_column(title)
        for check in checks:
            table.add_row(f"[{STYLES[check.state]}]{check.state}[/]", escape(check.name), escape(check.detail))
        Console(width=None if self.stdout.isatty() else 160).print(table)
