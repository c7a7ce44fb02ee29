"""Slots: places on a stack that say what belongs there, filled by members or for everybody, and waited for."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Job
from portal.models import User
from servers import games, seeds, services
from servers.errors import LayerInvalid, SlotEmpty
from servers.models import Blueprint, Layer, Server, StackEntry
from servers.services.ports import move_ports
from tests.api import Api

HTMX = {"HX-Request": "true"}


def layer(by: User, name: str, game: str = "practice") -> Layer:
    return Layer.objects.create(slug=name.lower(), name=name, game=game, kind="files", owner=by)


def shown(holder: Server | Blueprint) -> list[tuple[str, str]]:
    """(slot, layer) of each place, uppermost first."""
    return [(entry.slot, entry.layer.name if entry.layer else "") for entry in holder.stack.select_related("layer")]


@pytest.fixture
def slotted(mod: User, blueprint: Blueprint) -> Blueprint:
    """The practice blueprint with one slot that must be filled over one that may be."""
    services.add_slot(by=mod, holder=blueprint, label="Rules", hint="Any", is_required=False)
    services.add_slot(by=mod, holder=blueprint, label="Config", hint="From <b>there</b>", is_required=True)
    return blueprint


@pytest.fixture
def made(alice: User, slotted: Blueprint, node) -> Server:
    return services.create_server(by=alice, name="made", blueprint=slotted)


def test_a_server_that_needs_a_layer_is_not_started_before_it_has_it(alice: User, made: Server) -> None:
    for start in (services.start_server, services.restart_server):
        with pytest.raises(
            SlotEmpty, match=r"“made” still needs a layer for “Config”\. Put one there on its page Layers"
        ):
            start(by=alice, server=made)
    made.refresh_from_db()
    assert not Job.objects.exists()
    assert made.desired == "stop"
    services.fill_slot(by=alice, holder=made, slot="Config", layer=layer(alice, "Mine"))
    assert services.start_server(by=alice, server=made)


def test_a_layer_taken_out_leaves_its_slot_empty_in_its_place(alice: User, made: Server) -> None:
    services.add_to_stack(by=alice, holder=made, layer=layer(alice, "Top"))
    mine = layer(alice, "Mine")
    services.fill_slot(by=alice, holder=made, slot="Config", layer=mine)
    assert shown(made) == [("", "Top"), ("Config", "Mine"), ("Rules", "")]
    services.move_in_stack(by=alice, holder=made, layer=mine.pk, to=0)
    services.remove_from_stack(by=alice, holder=made, layer=mine.pk)
    assert shown(made) == [("Config", ""), ("", "Top"), ("Rules", "")]
    services.drop_slot(by=alice, holder=made, slot="Rules")
    services.drop_slot(by=alice, holder=made, slot="Rules")
    assert shown(made) == [("Config", ""), ("", "Top")]


def test_a_layer_on_the_stack_moves_into_a_slot_but_not_from_one_to_another(alice: User, made: Server) -> None:
    mine = layer(alice, "Mine")
    services.add_to_stack(by=alice, holder=made, layer=mine)
    services.fill_slot(by=alice, holder=made, slot="Rules", layer=mine)
    assert shown(made) == [("Config", ""), ("Rules", "Mine")]
    with pytest.raises(LayerInvalid, match="in the slot “Rules” already"):
        services.fill_slot(by=alice, holder=made, slot="Config", layer=mine)
    with pytest.raises(LayerInvalid, match="filled or left out meanwhile"):
        services.fill_slot(by=alice, holder=made, slot="Rules", layer=layer(alice, "Other"))
    with pytest.raises(LayerInvalid, match="another game"):
        services.fill_slot(by=alice, holder=made, slot="Config", layer=layer(alice, "Arena", "openarena"))
    with pytest.raises(LayerInvalid, match="no other one has"):
        services.add_slot(by=alice, holder=made, label="Rules", hint="", is_required=False)


def test_a_slot_filled_in_the_blueprint_is_filled_for_everybody(
    alice: User, mod: User, slotted: Blueprint, made: Server
) -> None:
    own = services.create_server(by=alice, name="own", blueprint=slotted)
    services.fill_slot(by=alice, holder=own, slot="Config", layer=layer(alice, "Mine"))
    services.fill_slot(by=mod, holder=slotted, slot="Config", layer=layer(mod, "Ours"))
    assert [shown(one)[0] for one in (slotted, made, own)] == [("Config", layer) for layer in ("Ours", "Ours", "Mine")]
    later = services.create_server(by=alice, name="later", blueprint=slotted)
    copy, _ = services.clone_server(by=alice, server=own, name="copy")
    assert [shown(one) for one in (later, copy)] == [shown(slotted), shown(own)]
    assert services.start_server(by=alice, server=later), "the other slot may stay empty"


def test_a_place_holds_a_layer_or_says_what_belongs_there(server: Server) -> None:
    with pytest.raises(IntegrityError, match="stack_entry_layer_or_slot"), transaction.atomic():
        StackEntry.objects.create(server=server, position=0)
    StackEntry.objects.create(server=server, position=0, slot="Config")
    with pytest.raises(IntegrityError, match="stack_server_slot"), transaction.atomic():
        StackEntry.objects.create(server=server, position=1, slot="Config")


def test_a_new_server_is_made_with_its_slots_filled_on_the_page(client: Client, alice: User, slotted, node) -> None:
    layer(alice, "Mine")
    client.force_login(alice)
    page = client.get("/new-server/?blueprint=practice").content.decode()
    config = slotted.stack.get(slot="Config")
    assert "From &lt;b&gt;there&lt;/b&gt;" in page
    assert f'name="slot-{config.pk}"' in page and ">Mine</option>" in page
    form = {"blueprint": "practice", "set-hostname": "x", "name": "full", f"slot-{config.pk}": "mine"}
    assert client.post("/new-server/", form).headers["Location"] == "/servers/full/"
    assert shown(Server.objects.get(name="full")) == [("Config", "Mine"), ("Rules", "")]
    bare = {"blueprint": "practice", "set-hostname": "x", "name": "bare"}
    answer = client.post("/new-server/", bare, follow=True)
    assert answer.redirect_chain == [("/servers/bare/layers/", 302)]
    assert "“bare” still needs a layer for “Config”" in answer.content.decode()


def test_nobody_fills_a_slot_with_a_layer_that_they_may_not_use(
    client: Client, alice: User, bob: User, slotted: Blueprint, made: Server
) -> None:
    layer(bob, "Secret")
    client.force_login(alice)
    config = slotted.stack.get(slot="Config")
    form = {"blueprint": "practice", "set-hostname": "x", "name": "new", f"slot-{config.pk}": "secret"}
    answer = client.post("/new-server/", form)
    assert (answer.status_code, "Select a valid choice" in answer.content.decode()) == (422, True)
    assert not Server.objects.filter(name="new").exists()
    answer = client.post("/servers/made/layers/fill/", {"slot": "Config", "layer": "secret"}, headers=HTMX)
    assert answer.status_code == 409
    assert shown(made) == [("Config", ""), ("Rules", "")]


def test_the_layers_page_says_what_belongs_where_and_takes_it(client: Client, alice: User, made: Server) -> None:
    mine = layer(alice, "Mine")
    client.force_login(alice)
    page = client.get("/servers/made/layers/").content.decode()
    assert page.count("Needed before it starts") == page.count("May stay empty") == 1
    answer = client.post("/servers/made/layers/fill/", {"slot": "Config", "layer": "mine"}, headers=HTMX)
    assert answer.status_code == 204
    assert client.post("/servers/made/layers/drop/", {"slot": "Rules"}, headers=HTMX).status_code == 204
    page = client.get("/servers/made/layers/").content.decode()
    assert '<span class="tag">Config</span>' in page and "May stay empty" not in page
    assert shown(made) == [("Config", mine.name)]


@pytest.mark.parametrize("verb", ["slots", "fill", "drop"])
def test_slots_are_for_who_may_change_the_stack(
    client: Client, alice: User, bob: User, charlie: User, mod: User, made: Server, verb: str
) -> None:
    layer(mod, "Ours")
    form = {"slot": "Config", "layer": "ours", "label": "More"}
    for base, owner_gets in (("/servers/made", 409 if verb == "slots" else 204), ("/blueprints/practice", 403)):
        path = f"{base}/layers/{verb}/"
        client.logout()
        assert client.post(path, form).headers["Location"].startswith("/accounts/login/")
        client.force_login(charlie)
        assert client.post(path, form, headers=HTMX).status_code == (404 if "servers" in base else 403)
        User.objects.filter(pk=bob.pk).update(suspended_at=timezone.now())
        client.force_login(bob)
        assert client.post(path, form).headers["Location"].startswith("/accounts/login/")
        before = shown(made)
        client.force_login(mod)
        assert client.get(path).status_code == 405
        assert shown(made) == before
        client.force_login(alice)
        Layer.objects.update(visibility="public")
        assert client.post(path, form, headers=HTMX).status_code == owner_gets


def test_a_moderator_gives_a_blueprint_slots(client: Client, mod: User, blueprint: Blueprint) -> None:
    client.force_login(mod)
    form = {"label": "Campaign", "hint": "Any", "is_required": "1"}
    assert client.post("/blueprints/practice/layers/slots/", form).status_code == 302
    entry = blueprint.stack.get()
    assert (entry.slot, entry.hint, entry.is_required) == ("Campaign", "Any", True)
    for wrong in ({}, {"label": "x" * 61}, {"label": "Campaign"}):
        answer = client.post("/blueprints/practice/layers/slots/", wrong, headers=HTMX)
        assert (answer.status_code, "Give the slot a name" in answer.headers["HX-Trigger"]) == (409, True)
    assert "Needed before it starts" in client.get("/blueprints/practice/layers/").content.decode()


def test_a_program_is_refused_with_the_same_sentence_and_may_set_the_whole_stack(alice: User, made: Server) -> None:
    api = Api(alice)
    answer = api("post", "/servers/made/start")
    assert (answer.status_code, "still needs a layer for “Config”" in answer.json()["detail"]) == (409, True)
    assert api("get", "/servers/made/layers").json()["layers"] == []
    layer(alice, "Mine")
    assert api("put", "/servers/made/layers", {"layers": ["mine"]}).json()["layers"] == ["mine"]
    assert shown(made) == [("", "Mine")]
    assert api("post", "/servers/made/start").status_code == 202


def test_a_layer_in_a_slot_of_a_deleted_server_can_be_deleted(alice: User, made: Server) -> None:
    mine = layer(alice, "Mine")
    services.fill_slot(by=alice, holder=made, slot="Config", layer=mine)
    services.delete_server(by=alice, server=made)
    services.delete_layer(layer=mine)
    assert shown(made) == [("Config", ""), ("Rules", "")]


def test_slots_cost_the_pages_no_more_queries_the_more_there_are(client: Client, alice: User, mod: User, made) -> None:
    for number in range(20):
        services.add_slot(by=mod, holder=made, label=f"S{number}", hint="", is_required=False)
        services.add_slot(by=mod, holder=made.blueprint, label=f"S{number}", hint="", is_required=False)
        layer(alice, f"L{number}")
    client.force_login(alice)
    for path in ("/servers/made/layers/", "/new-server/?blueprint=practice"):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        assert len(queries) <= 12, [query["sql"] for query in queries]


def test_the_competitive_blueprint_comes_with_slots_and_waits_for_one(alice: User, db: None) -> None:
    seeds.seed_blueprints()
    blueprint = Blueprint.objects.get(slug="left4dead2-competitive")
    made = services.create_server(by=alice, name="comp", blueprint=blueprint)
    assert [layer for _, layer in shown(made)] == ["", "", ""]
    ports = {port.name: port.number for port in made.ports.all()}
    assert set(ports) == {"game", "tv"}
    rendered = games.get("left4dead2").render(
        settings=made.settings, secrets=made.secrets, ports=ports, name="comp", merged="/m"
    )
    argv, config = " ".join(rendered.argv), rendered.files["left4dead2/cfg/server.cfg"].decode()
    assert f"-tickrate 100 +tv_port {ports['tv']} +tv_enable 1 +sv_pure 2 +mp_gamemode versus" in argv
    for line in ("sv_minrate", "sv_maxrate"):
        assert f'{line} "100000"' in config
    for line in ("sv_minupdaterate", "sv_maxupdaterate", "sv_mincmdrate", "sv_maxcmdrate"):
        assert f'{line} "100"' in config
    assert 'tv_delay "90"' in config
    with pytest.raises(SlotEmpty, match="“ZoneMod or another Confogl config”"):
        services.start_server(by=alice, server=made)


def test_a_server_gets_the_port_that_its_game_has_come_to_ask_for(alice: User, db: None) -> None:
    seeds.seed_blueprints()
    blueprint = Blueprint.objects.get(slug="left4dead2-versus")
    made = services.create_server(by=alice, name="old", blueprint=blueprint)
    game = made.ports.get(name="game").number
    made.ports.filter(name="tv").delete()
    move_ports(server=made, blocked=set())
    assert dict(made.ports.values_list("name", "number")) == {"game": game, "tv": 27115}
