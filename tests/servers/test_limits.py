"""Limits of servers: whose word counts, who may set them, and what the machine is told and a game finds."""

import resource
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client

from portal.models import User
from servers import games, services
from servers.games.bounds import GameLimits
from servers.limits import BOUNDS, Limits, effective
from servers.models import AuditEvent, Blueprint, Installation, Node, Server
from servers.runtime.local import LocalRuntime
from servers.runtime.systemd import SystemdRuntime, unit_order
from servers.tasks import _spec
from tests.api import Api
from tests.servers.host import GAME, Host

PATH = "/servers/alices-practice"
SETTINGS_PAGE = "/servers/alices-practice/settings/"
BLUEPRINTS = "/admin/servers/blueprint/"
COUNT = "#!/bin/sh\necho files $(ulimit -Sn) $(ulimit -Hn) tasks $(grep processes /proc/self/limits)\n" + GAME
OUTSIDE = [(name, value) for name, (least, most) in BOUNDS.items() for value in (least - 1, most + 1)]


def in_force(server: Server) -> Limits:
    fresh = Server.objects.get(pk=server.pk)
    return effective(fresh, fresh.blueprint, games.get(fresh.game).limits)


def test_the_servers_own_go_before_the_blueprints_the_games_and_the_portals() -> None:
    own, blueprint = Server(memory_mib=100), Blueprint(memory_mib=200, cpu_percent=150)
    game = GameLimits(memory_mib=300, cpu_percent=300, tasks_max=300)
    assert effective(own, blueprint, game) == Limits(memory_mib=100, cpu_percent=150, tasks_max=300, open_files=16_384)
    assert effective(own, None) == Limits(memory_mib=100)


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
@pytest.mark.parametrize("kind", [Server, Blueprint])
def test_the_database_takes_nothing_out_of_bounds(server: Server, kind: type[Server], name: str, value: int) -> None:
    assert kind.objects.update(**{name: BOUNDS[name][0]}) == kind.objects.update(**{name: BOUNDS[name][1]}) == 1
    with pytest.raises(IntegrityError, match="limits_range"), transaction.atomic():
        kind.objects.update(**{name: value})
    row = kind.objects.get()
    setattr(row, name, value)
    with pytest.raises(ValidationError, match=name):
        row.clean_fields()


@pytest.mark.parametrize("follow", [True, False])
def test_the_blueprints_reach_every_server_made_from_it_until_it_has_its_own(
    alice: User, mod: User, blueprint: Blueprint, node: Node, follow: bool
) -> None:
    made = services.create_server(by=alice, name="made", blueprint=blueprint, follow=follow)
    blueprint.memory_mib, blueprint.tasks_max = 2048, 100
    services.save_blueprint(by=mod, blueprint=blueprint)
    assert in_force(made) == Limits(memory_mib=2048, tasks_max=100)
    services.set_limits(by=mod, server=made, limits={"memory_mib": 512})
    services.set_following(by=alice, server=made, follow=not follow)
    assert in_force(made) == Limits(memory_mib=512, tasks_max=100)
    services.set_limits(by=mod, server=made, limits={"memory_mib": None})
    assert in_force(made).memory_mib == 2048


def test_a_copy_of_a_server_gets_its_blueprints_limits_not_those_given_to_that_server(
    alice: User, mod: User, server: Server
) -> None:
    services.set_limits(by=mod, server=server, limits={"memory_mib": 65_536})
    assert in_force(services.clone_server(by=alice, server=server, name="copy")[0]) == Limits()


def test_servers_keep_their_limits_when_the_blueprint_is_deleted(mod: User, server: Server) -> None:
    Blueprint.objects.update(memory_mib=2048, open_files=1000)
    services.set_limits(by=mod, server=server, limits={"memory_mib": 512})
    services.delete_blueprint(by=mod, blueprint=Blueprint.objects.get())
    assert in_force(server) == Limits(memory_mib=512, open_files=1000)


def test_changes_are_in_the_audit_trail_once(mod: User, server: Server, blueprint: Blueprint) -> None:
    for _ in range(2):
        services.set_limits(by=mod, server=server, limits={"cpu_percent": 150})
        services.save_blueprint(by=mod, blueprint=Blueprint(pk=blueprint.pk, slug="practice", memory_mib=512))
    of_server, of_blueprint = AuditEvent.objects.order_by("pk")
    assert (of_server.actor, of_server.server, of_server.action) == (mod, server, "limits")
    assert of_server.detail["before"]["cpu_percent"] is None
    assert of_server.detail["after"]["cpu_percent"] == 150
    assert (of_blueprint.actor, of_blueprint.action, of_blueprint.detail["name"]) == (
        mod,
        "blueprint limits",
        "practice",
    )
    assert of_blueprint.detail["after"]["memory_mib"] == 512


def test_a_moderator_sets_a_servers_limits_in_the_admin(client: Client, mod: User, server: Server) -> None:
    client.force_login(mod)
    page = f"/admin/servers/server/{server.pk}/set_limits/"
    services.set_limits(by=mod, server=server, limits={"cpu_percent": 150})
    assert 'value="150"' in client.get(page).content.decode(), "what is set now is in the form"
    refused = client.post(page, {"confirmed": "1", "memory_mib": "1", "cpu_percent": "250"}).content.decode()
    assert "greater than or equal to 64" in refused
    assert 'value="250"' in refused
    client.post(page, {"confirmed": "1", "memory_mib": "1536", "cpu_percent": ""})
    assert in_force(server) == Limits(memory_mib=1536)


def test_a_moderator_sets_a_blueprints_limits_in_the_admin(client: Client, mod: User, blueprint: Blueprint) -> None:
    client.force_login(mod)
    page, form = f"{BLUEPRINTS}{blueprint.pk}/change/", {"name": "P", "slug": "practice", "game": "practice"}
    form |= {"settings": "{}", "position": "0"}
    assert "less than or equal to 1024" in client.post(page, form | {"tasks_max": "1025"}).content.decode()
    assert client.post(page, form | {"tasks_max": "200"}).status_code == 302
    assert Blueprint.objects.get().tasks_max == 200
    assert AuditEvent.objects.get().detail["after"]["tasks_max"] == 200


@pytest.mark.parametrize("who", ["nobody", "alice", "charlie", "suspended"])
def test_only_moderators_reach_the_admins_page(
    client: Client, server: Server, alice: User, charlie: User, who: str
) -> None:
    if who == "suspended":
        client.force_login(User.objects.create_user("former", is_staff=True))
        User.objects.filter(username="former").update(suspended_at=server.created_at)
    elif who != "nobody":
        client.force_login({"alice": alice, "charlie": charlie}[who])
    answer = client.post(f"/admin/servers/server/{server.pk}/set_limits/", {"confirmed": "1", "memory_mib": "9000"})
    assert answer.status_code in (302, 403, 404)
    assert in_force(server) == Limits()


def test_in_the_api_moderators_set_limits_and_everybody_who_sees_the_server_reads_them(
    server: Server, alice: User, mod: User
) -> None:
    asks, hers = Api(mod), Api(alice)
    refused = hers("patch", PATH, {"limits": {"memory_mib": 9000}, "settings": {"max_players": 6}})
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "Limits are for moderators to set. Ask one of them.",
    )
    server.refresh_from_db()
    assert server.settings == {}
    assert asks("patch", PATH, {"limits": {"memory_mib": 512, "cpu_percent": 50}}).status_code == 200
    assert asks("patch", PATH, {"limits": {"memory_mib": None}}).json()["limits"]["memory_mib"] == 4096
    shown = hers("get", PATH).json()["limits"]
    assert shown == {"memory_mib": 4096, "cpu_percent": 50, "tasks_max": 512, "open_files": 16_384}
    assert asks("patch", PATH, {"limits": {"memory_mib": 1}}).status_code == 422


def test_the_settings_page_shows_them(client: Client, server: Server, alice: User, mod: User) -> None:
    Blueprint.objects.update(memory_mib=1536, cpu_percent=200)
    client.force_login(alice)
    page = client.get(SETTINGS_PAGE).content.decode()
    assert "Memory 1.5 GiB · CPU 2 cores · 512 processes and threads · 16384 open files each" in page
    assert "set_limits" not in page
    client.force_login(mod)
    assert f"/admin/servers/server/{server.pk}/set_limits/" in client.get(SETTINGS_PAGE).content.decode()


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        (Limits(memory_mib=700, cpu_percent=100), "Memory 700 MiB · CPU 1 core · "),
        (Limits(memory_mib=1500, cpu_percent=50), "Memory 1500 MiB · CPU 0.5 cores · "),
        (Limits(), "Memory 4 GiB · CPU no limit · "),
    ],
)
def test_limits_are_told_in_words(limits: Limits, line: str) -> None:
    assert str(limits).startswith(line)


def test_the_units_of_a_real_host_are_told_them(server: Server, node: Node, settings, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    Server.objects.update(cpu_percent=150, open_files=1000, secrets={"rcon": "x"})
    Blueprint.objects.update(memory_mib=2048)
    version = Installation(node=node, game="practice", version="1")
    spec = _spec(Server.objects.select_related("blueprint").get(), version, (), ())
    order = unit_order(spec)
    assert (order["memory_max"], order["cpu_percent"], order["tasks_max"]) == (2048 << 20, 150, 512)
    assert SystemdRuntime()._run_order(spec)["open_files"] == 1000


@pytest.mark.parametrize("mount", ["overlay", "copy"])
def test_a_game_finds_its_limits(host: Host, settings, mount: str) -> None:
    settings.LOCAL_MOUNT = mount
    host.runtime = LocalRuntime()
    host.runtime.start(host.spec(COUNT, limits=Limits(open_files=100, tasks_max=50)))
    host.wait_line("ready")
    ours = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    tasks = 50 if mount == "overlay" else "unlimited" if ours == resource.RLIM_INFINITY else ours
    [line] = [line for line in host.lines() if line.startswith("files")]
    assert line.split()[:7] == f"files 100 100 tasks Max processes {tasks}".split()


def test_a_game_is_given_no_more_open_files_than_the_machine_lets_us(host: Host) -> None:
    host.runtime.start(host.spec(COUNT, limits=Limits(open_files=10**9)))
    host.wait_line("ready")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert host.lines()[0].startswith(f"files {most} {most} ")
