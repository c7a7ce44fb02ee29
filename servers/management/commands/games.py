"""`manage.py games`: lists the games, or checks definition files before they are put in place."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from servers import games
from servers.games.validate import DefinitionError, load


class Command(BaseCommand):
    help = "List the games this portal knows, or check the given definition files; fails when one cannot be used."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", type=Path, help="definitions to check instead")

    def handle(self, *args: Any, files: list[Path], **options: Any) -> None:
        found, problems = self._checked(files) if files else (list(games.all_games().values()), games.problems())
        for game in found:
            self.stdout.write(f"{game.slug:<20} {game.install.method:<10} {game.name}")
        if problems:
            raise CommandError("\n".join(problems))

    def _checked(self, files: list[Path]) -> tuple[list[games.Game], list[str]]:
        good, problems = [], []
        for path in files:
            try:
                good.append(load(path))
            except DefinitionError as error:
                problems.append(str(error))
        return good, problems
