"""Creating, cloning and changing servers: names, settings, ports, limits, and nothing half-made."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction

from jobs.models import Job, Stream
from portal.models import User
from servers import games, services
from servers.errors import NameInvalid, NameTaken, NoFreePort, ServerGone, TooManyServers
from servers.models import AuditEvent, Blueprint, Right, Server, ServerPort
from tests.servers.racing import race
from tests.stack import wait_for


@pytest.fixture
def few_ports(settings, tmp_path):
    """The practice game with `few_ports(n)` ports."""

    def narrow(count: int) -> None:
        text = Path(django_settings.BASE_DIR, "servers/games/practice.toml").read_text()
        (tmp_path / "practice.toml").write_text(text.replace("to = 27114", f"to = {27014 + count}"))
        settings.GAMES_DIRS = [tmp_path]

    return narrow


def create(by, blueprint, name="tuesday-coop", **more):
    return services.create_server(by=by, name=name, blueprint=blueprint, **more)


def nothing_was_made() -> bool:
    return not (Server.objects.exists() or ServerPort.objects.exists() or Stream.objects.exists())


def test_a_new_server_is_stopped_and_complete(alice, blueprint, node):
    made = create(alice, blueprint, settings={"hostname": "Tuesday", "max_players": "6"})
    made.refresh_from_db()
    assert (made.owner, made.node, made.game, made.desired, made.unit) == (alice, node, "practice", "stop", "stopped")
    assert made.settings == {"hostname": "Tuesday", "max_players": 6}
    assert [(port.name, port.number) for port in made.ports.all()] == [("game", 27015)]
    assert len(made.secrets["rcon"]) >= 20
    assert made.console.keep == 20_000
    event = AuditEvent.objects.get()
    assert (event.actor, event.server, event.action) == (alice, made, "create")
    assert not Job.objects.exists()


def test_settings_go_over_the_blueprints(alice, blueprint):
    blueprint.settings = {"hostname": "House", "max_players": 4}
    assert create(alice, blueprint, settings={"max_players": 5}).settings == {"hostname": "House", "max_players": 5}


def test_two_servers_share_no_secret(alice, blueprint):
    assert create(alice, blueprint, "one").secrets != create(alice, blueprint, "two").secrets


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "Give the server a name"),
        ("a" * 33, "33 characters"),
        ("Tuesday", "“T”"),
        ("tues day", "“ ”"),
        ("-tuesday", "Begin and end"),
        ("tuesday-", "Begin and end"),
        ("tuesday\n", "control characters"),
        ("../../etc", "“.” “/”"),
        ("tüsday", "“ü”"),
        ("$(reboot)", "“$”"),
    ],
)
def test_a_bad_name_is_refused_with_what_to_mend(alice, blueprint, name, says):
    with pytest.raises(NameInvalid) as refusal:
        create(alice, blueprint, name)
    assert says in str(refusal.value)
    assert refusal.value.field == "name"
    assert nothing_was_made()


@pytest.mark.parametrize("name", ["a", "7", "a" * 32, "tuesday-coop", "0-0"])
def test_a_good_name_is_taken_as_it_is(alice, blueprint, name):
    assert create(alice, blueprint, name).name == name


def test_a_taken_name_is_refused_and_another_can_be_tried(alice, bob, blueprint):
    create(alice, blueprint)
    with pytest.raises(NameTaken, match="tuesday-coop"):
        create(bob, blueprint)
    assert create(bob, blueprint, "wednesday").owner == bob
    assert Stream.objects.count() == 2


def test_settings_that_do_not_fit_leave_nothing(alice, blueprint):
    with pytest.raises(games.SettingsError) as refusal:
        create(alice, blueprint, settings={"max_players": 99, "nonsense": 1})
    assert set(refusal.value.by_key) == {"max_players", "nonsense"}
    assert nothing_was_made()


def test_an_unknown_game_leaves_nothing(alice):
    gone = Blueprint.objects.create(slug="gone", name="Gone", game="gone")
    with pytest.raises(games.UnknownGame, match="gone"):
        create(alice, gone)
    assert nothing_was_made()


def test_the_lowest_free_port_is_given(alice, blueprint):
    first, second = create(alice, blueprint, "one"), create(alice, blueprint, "two")
    assert second.ports.get().number == 27016
    first.ports.all().delete()
    assert create(alice, blueprint, "three").ports.get().number == 27015


def test_exhausted_ports_are_told_and_leave_nothing(alice, blueprint, few_ports):
    few_ports(1)
    first = create(alice, blueprint, "one")
    with pytest.raises(NoFreePort, match="27015 to 27015"):
        create(alice, blueprint, "two")
    assert list(Server.objects.all()) == [first]
    assert Stream.objects.count() == 1
    services.delete_server(by=alice, server=first)
    assert create(alice, blueprint, "two").ports.get().number == 27015


def test_a_member_may_have_so_many_servers_and_staff_more(alice, mod, blueprint, settings):
    settings.SERVERS_PER_USER = 2
    servers = [create(alice, blueprint, f"s{number}") for number in range(2)]
    with pytest.raises(TooManyServers, match="2 servers"):
        create(alice, blueprint, "s2")
    services.delete_server(by=alice, server=servers[0])
    create(alice, blueprint, "s2")
    for number in range(3):
        create(mod, blueprint, f"m{number}")


def test_one_of_eight_gets_a_name(transactional_db, alice, blueprint, node):
    results = race([partial(create, alice, blueprint) for _ in range(8)])
    assert sorted(type(result).__name__ for result in results) == ["NameTaken"] * 7 + ["Server"]
    assert Stream.objects.count() == 1


def test_eight_at_once_get_ports_of_their_own(transactional_db, blueprint, node, few_ports):
    few_ports(8)
    users = [User.objects.create(username=f"user{number}") for number in range(8)]
    made = race([partial(create, user, blueprint, f"s{number}") for number, user in enumerate(users)])
    assert sorted(server.ports.get().number for server in made) == list(range(27015, 27023))


def test_the_limit_holds_for_presses_at_once(transactional_db, alice, blueprint, node, settings):
    settings.SERVERS_PER_USER = 3
    results = race([partial(create, alice, blueprint, f"s{number}") for number in range(8)])
    assert sum(isinstance(result, Server) for result in results) == Server.objects.count() == 3
    assert sum(isinstance(result, TooManyServers) for result in results) == 5


def test_a_clone_is_its_makers_with_settings_but_no_secret_of_the_source(bob, server, share):
    share(bob, Right.SETTINGS, Right.FILES)
    Server.objects.filter(pk=server.pk).update(settings={"hostname": "House"}, secrets={"rcon": "x" * 24})
    copy, job = services.clone_server(by=bob, server=server, name="bobs-copy")
    assert (copy.owner, copy.settings, copy.blueprint) == (bob, {"hostname": "House"}, server.blueprint)
    assert copy.secrets["rcon"] != "x" * 24
    assert copy.ports.get().number == 27016
    assert (job.subject, job.args) == (copy.topic, {"server": copy.pk, "source": server.pk})


def test_a_clone_under_a_taken_name_is_refused(bob, server, share):
    share(bob, Right.SETTINGS, Right.FILES)
    with pytest.raises(NameTaken):
        services.clone_server(by=bob, server=server, name=server.name)
    assert Server.objects.count() == 1
    assert not Job.objects.exists()


def test_changed_settings_are_cleaned_and_their_values_not_audited(alice, server):
    services.update_settings(by=alice, server=server, settings={"password": "friends only", "max_players": "4"})
    server.refresh_from_db()
    assert server.settings == {"password": "friends only", "max_players": 4}
    assert AuditEvent.objects.get().detail == {"name": server.name, "changed": ["max_players", "password"]}


def test_settings_of_a_deleted_server_stay(alice, server):
    services.delete_server(by=alice, server=server)
    with pytest.raises(ServerGone):
        services.update_settings(by=alice, server=server, settings={})


def test_a_copy_and_the_suspension_of_its_owner_do_not_wait_for_each_other(transactional_db, alice, server):
    def copy() -> None:
        try:
            services.clone_server(by=alice, server=server, name="copy")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            User.objects.filter(pk=alice.pk).update(suspended_reason="as a suspension begins")
            copying = pool.submit(copy)
            wait_for(somebody_waits, what="the copy to wait for the member's row")
            Server.objects.select_for_update(nowait=True).get(pk=server.pk)
        copying.result(30)


def somebody_waits() -> bool:
    with connection.cursor() as db:
        db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(db.fetchone()[0])
