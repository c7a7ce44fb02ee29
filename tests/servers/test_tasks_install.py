"""Installing a game: whole or not at all, once for many who ask, and again after any failure."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from jobs import services as engine
from jobs.models import Job
from servers import services
from servers.models import Blueprint, Installation
from tests.servers.living import lines_of, settled, state_of
from tests.servers.racing import race
from tests.stack import BASE, game_port


@pytest.fixture
def define(portal):
    """`define("one", 'method = "builtin"')` writes a game's definition that installs that way."""

    def write(slug: str, install: str) -> None:
        port = game_port()
        Path(portal.environment["LEFT4ME_GAMES_DIR"], f"{slug}.toml").write_text(
            f'slug = "{slug}"\nname = "Game {slug}"\nsummary = "For a test."\n'
            f'[install]\n{install}\n[run]\nargv = ["/bin/sleep", "600"]\n'
            f'[[ports]]\nname = "game"\nprotocol = "udp"\nfrom = {port}\nto = {port}\n'
        )

    return write


@pytest.fixture
def server_of(alice, node):
    def make(game: str, name: str = "house"):
        blueprint, _ = Blueprint.objects.get_or_create(slug=game, defaults={"name": game, "game": game})
        return services.create_server(by=alice, name=name, blueprint=blueprint)

    return make


def left_on_disk(game: str) -> list[str]:
    return sorted(path.name for path in (django_settings.STATE_DIR / "installations" / game).glob("*"))


def test_two_first_starts_at_once_install_the_game_once(portal, alice, server_of):
    servers = [server_of("practice", name) for name in ("one", "two")]
    starts = race([partial(services.start_server, by=alice, server=server) for server in servers])
    portal.start("cluster")
    assert [settled(start, 60) for start in starts] == ["succeeded", "succeeded"], [job.error for job in starts]
    made = Installation.objects.get(state="ready")
    assert made.is_current
    assert made.version.startswith("builtin-")
    assert made.size_bytes > 1000
    assert left_on_disk("practice") == [made.version]
    assert {state_of(server).unit for server in servers} == {"running"}


def test_a_failed_installation_leaves_nothing_and_can_be_tried_again(portal, alice, server_of, define):
    define("broken", 'method = "builtin"\nfolder = "not_there"')
    server = server_of("broken")
    portal.start("cluster")
    start = services.start_server(by=alice, server=server)
    assert settled(start) == "failed"
    assert "Install Game broken" in start.error
    install = Job.objects.get(kind="installations.install")
    assert install.error.endswith(".")
    assert "not_there" in install.error
    assert left_on_disk("broken") == []
    assert Installation.objects.get().state == "failed"

    define("broken", 'method = "builtin"\nfolder = "practice"')
    again = services.start_server(by=alice, server=server)
    assert settled(again) == "succeeded", again.error
    assert Installation.objects.get(is_current=True).state == "ready"


def test_a_missing_package_is_named(portal, alice, server_of, define):
    define("typo", 'method = "debian"\npackages = ["no-such-package-anywhere"]')
    portal.start("cluster")
    start = services.start_server(by=alice, server=server_of("typo"))
    assert settled(start, 60) == "failed"
    assert "no-such-package-anywhere" in Job.objects.get(kind="installations.install").error
    assert left_on_disk("typo") == []


def test_what_a_killed_installation_left_is_cleared_by_the_next(portal, node):
    place = django_settings.STATE_DIR / "installations" / "practice"
    (place / ".partial-1" / "half").mkdir(parents=True)
    Installation.objects.create(node=node, game="practice", version="build-1", state="building")
    portal.start("cluster")
    job = services.install_game(by=None, node=node, game="practice")
    assert settled(job) == "succeeded", job.error
    current = Installation.objects.get(is_current=True)
    assert left_on_disk("practice") == [current.version]
    assert Installation.objects.get(version="build-1").state == "failed"


def test_updating_to_the_version_that_is_there_changes_nothing(portal, node):
    portal.start("cluster")
    settled(services.install_game(by=None, node=node, game="practice"))
    current = Installation.objects.get()
    job = services.install_game(by=None, node=node, game="practice", update=True)
    assert settled(job) == "succeeded", job.error
    assert any("installed before" in line for line in lines_of(job.stream_id))
    assert Installation.objects.get() == current
    assert left_on_disk("practice") == [current.version]


def test_a_disk_that_fills_up_half_way_is_told_and_leaves_nothing(portal, alice, node, server_of):
    """The worker's own code, in a namespace where the disk for installations has 16 KiB."""
    place = django_settings.STATE_DIR / "installations"
    place.mkdir()
    job = services.install_game(by=None, node=node, game="practice")
    program = (
        "import os; from django.conf import settings; from jobs.worker import run_job;"
        f"run_job({job.pk}); print(os.listdir(settings.STATE_DIR / 'installations/practice'))"
    )
    shell = 'mount -t tmpfs -o size=16k tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-current-user", "--mount", "--keep-caps", "sh", "-c", shell, place,
         sys.executable, "manage.py", "shell", "--no-imports", "-c", program],
        cwd=BASE, env=portal.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    job.refresh_from_db()
    assert (job.state, "disk is full" in job.error) == ("failed", True)
    assert Installation.objects.get().state == "failed"
    portal.start("cluster")
    again = engine.retry(job=job, by=None)
    assert settled(again) == "succeeded", again.error
