"""A game of the test's own that comes with the portal: each change of its files is a new version of it."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from jobs import worker
from jobs.models import Job
from portal.models import User
from servers import services
from servers.models import Blueprint, Installation, Node, Server
from tests.stack import Stack

PRACTICE = Path(django_settings.BASE_DIR, "servers/games/practice")


class Toys:
    """`change` the game's files, `update` its installation, make a `server` of it; jobs run here, not in a cluster."""

    def __init__(self, base: Path, node: Node, alice: User) -> None:
        self.node, self.alice = node, alice
        self.source = base / "servers" / "games" / "practice"
        shutil.copytree(PRACTICE, self.source, ignore=shutil.ignore_patterns("__pycache__"))

    def change(self, file: str, text: str) -> None:
        (self.source / file).write_text(text)

    def update(self) -> Job:
        return self.run(services.install_game(by=self.alice, node=self.node, game="practice", update=True))

    def run(self, job: Job) -> Job:
        worker.run_job(job.pk)
        job.refresh_from_db()
        return job

    @property
    def current(self) -> Installation:
        return Installation.objects.get(is_current=True)

    def server(self, name: str) -> Server:
        """A started one."""
        blueprint, _ = Blueprint.objects.get_or_create(slug="practice", defaults={"game": "practice"})
        made = services.create_server(by=self.alice, name=name, blueprint=blueprint)
        started = self.run(services.start_server(by=self.alice, server=made))
        assert started.state == "succeeded", started.error
        made.refresh_from_db()
        return made

    def restart(self, server: Server) -> None:
        """Long after what was pressed before: a second press within seconds would be the same."""
        Job.objects.update(created_at=timezone.now() - timedelta(minutes=1))
        job = self.run(services.restart_server(by=self.alice, server=server))
        assert job.state == "succeeded", job.error
        server.refresh_from_db()

    def on_disk(self) -> set[str]:
        return {path.name for path in (django_settings.STATE_DIR / "installations" / "practice").glob("*")}


@pytest.fixture
def toys(portal: Stack, settings, tmp_path: Path, node: Node, alice: User) -> Toys:
    settings.BASE_DIR = tmp_path / "base"
    return Toys(settings.BASE_DIR, node, alice)
