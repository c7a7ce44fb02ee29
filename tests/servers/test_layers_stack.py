"""Stacks: their order, what they refuse, and that servers begin with their blueprint's."""

from functools import partial

import pytest
from django.test import Client

from portal.models import User
from servers import services
from servers.errors import LayerInvalid
from servers.layers import addon_order
from servers.models import Blueprint, Layer, LayerBuild, LayerFile, Server
from tests.servers.racing import race


def layer(by: User, name: str, game: str = "practice") -> Layer:
    return Layer.objects.create(slug=name.lower(), name=name, game=game, kind="files", owner=by)


def order(holder: Server | Blueprint) -> list[str]:
    return [entry.layer.name for entry in holder.stack.select_related("layer")]


@pytest.fixture
def layers(alice: User) -> list[Layer]:
    return [layer(alice, name) for name in ("One", "Two", "Three")]


def test_the_newest_is_uppermost_and_each_can_be_moved(alice: User, server: Server, layers: list[Layer]):
    for one in layers:
        services.add_to_stack(by=alice, holder=server, layer=one)
    assert order(server) == ["Three", "Two", "One"]
    services.move_in_stack(by=alice, holder=server, layer=layers[0].pk, to=0)
    assert order(server) == ["One", "Three", "Two"]
    services.move_in_stack(by=alice, holder=server, layer=layers[0].pk, to=99)
    assert order(server) == ["Three", "Two", "One"]
    services.remove_from_stack(by=alice, holder=server, layer=layers[1].pk)
    services.remove_from_stack(by=alice, holder=server, layer=layers[1].pk)
    assert order(server) == ["Three", "One"]
    assert [entry.position for entry in server.stack.all()] == [0, 1]


def test_a_layer_is_on_a_stack_once_and_only_on_one_of_its_game(alice: User, server: Server, layers: list[Layer]):
    services.add_to_stack(by=alice, holder=server, layer=layers[0])
    with pytest.raises(LayerInvalid, match="already"):
        services.add_to_stack(by=alice, holder=server, layer=layers[0])
    with pytest.raises(LayerInvalid, match="another game"):
        services.add_to_stack(by=alice, holder=server, layer=layer(alice, "Other", "openarena"))
    with pytest.raises(LayerInvalid, match="taken off"):
        services.move_in_stack(by=alice, holder=server, layer=layers[1].pk, to=0)


@pytest.mark.django_db(transaction=True)
def test_additions_at_the_same_moment_all_arrive_in_some_order(alice: User, server: Server):
    layers = [layer(alice, f"L{number}") for number in range(6)]
    race([partial(services.add_to_stack, by=alice, holder=server, layer=one) for one in layers])
    assert sorted(order(server)) == sorted(one.name for one in layers)
    assert [entry.position for entry in server.stack.all()] == list(range(6))


def test_servers_begin_with_the_stack_of_their_blueprint_or_of_what_they_copy(
    alice: User, blueprint: Blueprint, node, layers: list[Layer]
):
    for one in layers:
        services.add_to_stack(by=alice, holder=blueprint, layer=one)
    made = services.create_server(by=alice, name="made", blueprint=blueprint)
    assert order(made) == order(blueprint) == ["Three", "Two", "One"]
    services.move_in_stack(by=alice, holder=made, layer=layers[0].pk, to=0)
    copy, _ = services.clone_server(by=alice, server=made, name="copy")
    assert order(copy) == ["One", "Three", "Two"]
    assert order(blueprint) == ["Three", "Two", "One"]


def test_maps_that_add_ons_bring_are_offered_and_can_be_changed_to(alice: User, node, client: Client):
    blueprint = Blueprint.objects.create(slug="versus", name="Versus", game="left4dead2")
    campaign = layer(alice, "Campaign", "left4dead2")
    maps = ["dl_m1", 'x"; quit', "c1m1_hotel"]
    campaign.build = LayerBuild.objects.create(layer=campaign, digest="d" * 64, size_bytes=1, file_count=1, maps=maps)
    campaign.save()
    services.add_to_stack(by=alice, holder=blueprint, layer=campaign)
    server = services.create_server(by=alice, name="night", blueprint=blueprint)
    client.force_login(alice)
    for page in ("/new-server/?blueprint=versus", "/servers/night/settings/"):
        text = client.get(page).content.decode()
        assert text.count('<option value="dl_m1">') == text.count('<option value="c1m1_hotel">') == 1
        assert "quit" not in text
    server.unit = "running"
    assert "dl_m1" not in services.levels(server=server), "it was started without"
    server.mounted = [campaign.build.digest]
    assert services.levels(server=server)[-1] == "dl_m1"


def test_add_ons_are_listed_for_the_game_in_the_order_of_the_stack(alice: User):
    packages = {
        "High": ["left4dead2/addons/b.vpk", "left4dead2/addons/a.vpk", "left4dead2/addons/sub/c.vpk"],
        "Low": ["left4dead2/addons/a.vpk", "left4dead2/addons/Z.VPK", "left4dead2/addons/x\".vpk", "cfg/y.vpk"],
    }  # fmt: skip
    for number, (name, paths) in enumerate(packages.items()):
        build = LayerBuild.objects.create(
            layer=layer(alice, name, "left4dead2"), digest=f"{number:064d}", size_bytes=1, file_count=1
        )
        LayerFile.objects.bulk_create(LayerFile(build=build, path=path, size_bytes=1) for path in paths)
        LayerFile.objects.create(
            build=build, path="left4dead2/addons/q.vpk", size_bytes=1, addon="left4dead2/addons/a.vpk"
        )
    high, low = (f"{number:064d}" for number in range(2))
    assert addon_order.in_order("left4dead2/addons", [high, low]) == ["a.vpk", "b.vpk", "Z.VPK"]
    assert addon_order.in_order("left4dead2/addons", [low, high]) == ["Z.VPK", "a.vpk", "b.vpk"]
