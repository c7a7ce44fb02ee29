"""Versions of a game: built beside one another, tried before they are used, gone back to, and cleared away."""

from functools import partial

import pytest
from django.conf import settings as django_settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs.models import Stream
from servers import games, services, trial
from servers.errors import NameInvalid, VersionInUse, VersionRefused
from servers.models import AuditEvent, Installation, Node, Server
from servers.runtime import get_runtime
from servers.specs import server_spec
from tests.servers.host import digest
from tests.servers.living import lines_of, state_of
from tests.servers.racing import race
from tests.servers.toys import toys

__all__ = ["toys"]
BROKEN = "import sys\nprint('no such thing as a map')\nsys.exit(3)\n"
SILENT = "import time\nprint('thinking', flush=True)\ntime.sleep(600)\n"


def versions(node, *specs: dict[str, object]) -> list[Installation]:
    return [
        Installation.objects.create(node=node, game="practice", **{"version": str(number), "state": "ready"} | spec)
        for number, spec in enumerate(specs, 1)
    ]


def trials_left() -> list[str]:
    return [path.name for path in (django_settings.STATE_DIR / "runtime").glob("probe--*")]


def test_an_update_leaves_running_servers_alone_and_is_used_from_the_next_start(toys):
    toys.update()
    first = toys.current
    old = toys.server("old")
    before, pid = digest(services.folder(first)), state_of(old).pid

    toys.change("notes.txt", "new in this version")
    job = toys.update()
    assert job.state == "succeeded", job.error
    second = toys.current
    assert second.version != first.version
    assert any(line.startswith("It answered after") for line in lines_of(job.stream_id))
    assert second.promoted_at and second.job == job
    new = toys.server("new")
    old.refresh_from_db()
    assert (old.installation, new.installation) == (first, second)
    assert (state_of(old).pid, digest(services.folder(first))) == (pid, before)
    assert trials_left() == []

    toys.restart(old)
    assert old.installation == second
    services.promote_version(by=toys.alice, installation=first)
    assert toys.current == first
    toys.restart(old)
    assert (old.installation, digest(services.folder(first))) == (first, before)
    assert AuditEvent.objects.get(action="promote").detail["version"] == first.version


def test_files_that_did_not_change_are_shared_and_those_that_did_are_not(toys):
    toys.update()
    first = services.folder(toys.current) / "practice"
    toys.change("rcon.py", (toys.source / "rcon.py").read_text() + "# changed\n")
    toys.update()
    second = services.folder(toys.current) / "practice"
    assert first != second
    assert (first / "a2s.py").stat().st_ino == (second / "a2s.py").stat().st_ino
    assert (first / "rcon.py").stat().st_ino != (second / "rcon.py").stat().st_ino
    assert not (first / "rcon.py").read_text().endswith("# changed\n")
    assert 0 < toys.current.shared_bytes < toys.current.size_bytes


@pytest.mark.parametrize(
    ("program", "reason", "last"),
    [(BROKEN, "It ended at once", "no such thing"), (SILENT, "did not answer", "thinking")],
)
def test_a_version_on_which_no_server_answers_is_not_used(toys, monkeypatch, program, reason, last):
    monkeypatch.setattr(trial, "ANSWER_SECONDS", 2)
    toys.update()
    first = toys.current
    good = (toys.source / "__main__.py").read_text()
    toys.change("__main__.py", program)
    job = toys.update()
    assert (job.state, toys.current) == ("failed", first)
    assert "No server was moved to it." in job.error
    assert any(last in line for line in lines_of(job.stream_id))
    failed = Installation.objects.get(state="failed")
    assert failed.detail.startswith(f"No server runs on version {failed.version}")
    assert toys.on_disk() == {first.version}
    assert trials_left() == []

    toys.change("__main__.py", good + "# mended\n")
    assert toys.update().state == "succeeded"
    assert toys.current != first


def test_the_very_version_that_failed_can_be_tried_again(toys, monkeypatch, settings):
    monkeypatch.setattr(trial, "ANSWER_SECONDS", 5)
    settings.GAMES_BIND = "0.0.0.0"
    Node.objects.update(query_host="192.0.2.1")  # an address for documentation: no game is heard there
    assert toys.update().state == "failed"
    failed = Installation.objects.get()
    Node.objects.update(query_host="127.0.0.1")
    job = toys.update()
    assert job.state == "succeeded", job.error
    assert Installation.objects.get() == toys.current
    assert toys.current.version == failed.version


def test_what_a_killed_job_left_is_cleared_trial_and_all(toys):
    toys.update()
    first = toys.current
    (stale,) = versions(toys.node, {"version": "half", "state": "building"})
    half = services.folder(stale)
    half.mkdir()
    spec = server_spec(
        games.get("practice"), name=f"probe--{stale.pk}", layers=(services.folder(first), half), settings={},
        secrets={"rcon": "x"}, ports={"game": 29999},
    )  # fmt: skip
    get_runtime().start(spec)
    (job,) = services.clean_up_lost_builds(node=toys.node)
    assert services.clean_up_lost_builds(node=toys.node) == []
    assert toys.run(job).state == "succeeded"
    assert get_runtime().states([spec.name])[spec.name].unit == "stopped"
    assert trials_left() == []
    stale.refresh_from_db()
    assert stale.state == "failed"
    assert toys.on_disk() == {first.version}
    assert services.clean_up_lost_builds(node=toys.node) == []


def test_clean_up_keeps_what_is_used_and_what_one_can_go_back_to(toys):
    made = []
    for number in range(4):
        toys.change("notes.txt", f"version {number}")
        toys.update()
        made.append(toys.current)
        if number == 1:
            server = toys.server("house")
    job = toys.run(services.clean_up_game(by=toys.alice, node=toys.node, game="practice"))
    assert job.state == "succeeded", job.error
    kept = [made[1], made[2], made[3]]  # a server stands on it; was current before; is current
    assert list(Installation.objects.order_by("pk")) == kept
    assert toys.on_disk() == {version.version for version in kept}
    toys.restart(server)
    toys.run(services.clean_up_game(by=toys.alice, node=toys.node, game="practice"))
    assert list(Installation.objects.order_by("pk")) == kept[1:]
    assert state_of(server).unit == "running"


def test_a_version_in_use_cannot_be_deleted(server, node):
    current, used, free, building = versions(node, {"is_current": True}, {}, {}, {"state": "building"})
    Server.objects.update(installation=used)
    for version in (current, used, building):
        with pytest.raises(VersionInUse, match=r"is used by .*\. Promote another version"):
            services.forget_version(installation=version)
    services.forget_version(installation=free)
    services.forget_version(installation=free)
    assert set(Installation.objects.all()) == {current, used, building}


def test_a_deleted_server_whose_files_are_aside_holds_no_version(server, node):
    (used,) = versions(node, {})
    Server.objects.update(installation=used, deleted_at=timezone.now())
    with pytest.raises(VersionInUse):
        services.forget_version(installation=used)
    Server.objects.update(put_away_at=timezone.now())
    services.forget_version(installation=used)
    assert not Installation.objects.exists()


@pytest.mark.parametrize("state", ["building", "failed"])
def test_only_a_version_that_is_ready_can_be_promoted(mod, node, state):
    (version,) = versions(node, {"state": state})
    with pytest.raises(VersionRefused):
        services.promote_version(by=mod, installation=version)
    with pytest.raises(IntegrityError), transaction.atomic():
        Installation.objects.update(is_current=True)


@pytest.mark.django_db(transaction=True)
def test_a_version_is_not_deleted_under_a_server_that_moves_to_it(server, node, mod):
    first, second = versions(node, {"is_current": True}, {})
    for _ in range(10):
        race(
            [
                partial(services.use_current_version, server=server),
                partial(services.promote_version, by=mod, installation=second),
                partial(services.forget_version, installation=first),
            ]
        )
        server.refresh_from_db()
        assert server.installation in Installation.objects.all()
        Installation.objects.update(is_current=False)
        Server.objects.update(installation=None)
        first = Installation.objects.filter(version="1").first() or versions(node, {})[0]
        Installation.objects.filter(pk=first.pk).update(is_current=True)


def test_promotions_at_once_leave_one_current_version(transactional_db, mod, node):
    made = versions(node, {"is_current": True}, {}, {}, {})
    lost = race([partial(services.promote_version, by=mod, installation=version) for version in made] * 2)
    assert lost == [None] * 8
    assert Installation.objects.filter(is_current=True).count() == 1


def test_members_cannot_take_the_name_of_a_trial(alice, node, blueprint):
    with pytest.raises(NameInvalid, match="are the portal's own"):
        services.create_server(by=alice, name="probe--1", blueprint=blueprint)
    with pytest.raises(IntegrityError), transaction.atomic():
        Server.objects.create(name="probe--1", owner=alice, node=node, game="practice", console=Stream.objects.create())
