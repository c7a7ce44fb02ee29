"""Layers and blueprints made, changed and deleted by several at the same moment: each gets an answer, none an error."""

from functools import partial

import pytest
from django.test import Client

from portal.models import User
from servers import services
from servers.errors import LayerGone
from servers.models import Blueprint, Layer
from tests.servers.racing import race

pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 6


def make(by: User) -> Layer:
    return services.create_layer(
        by=by, name="Same name", game="practice", kind="files", visibility="private", source={"files": {"a.cfg": "x"}}
    )


def test_layers_of_one_name_made_at_once_get_a_slug_each(alice: User, bob: User, node) -> None:
    made = race([partial(make, user) for user in (alice, bob) * (AT_ONCE // 2)])
    assert {type(one) for one in made} == {Layer}
    numbered = [f"same-name-{number}" for number in range(2, AT_ONCE + 1)]
    assert sorted(one.slug for one in made) == ["same-name", *numbered]


def test_a_layer_is_deleted_once_and_whatever_else_is_asked_then_is_told(alice: User, node) -> None:
    layer = make(alice)
    ended = race([partial(services.delete_layer, layer=layer)] * 3)
    assert ended.count(None) == 1
    assert {type(one) for one in ended} == {type(None), LayerGone}
    for late in (
        partial(services.write_layer_file, by=alice, layer=layer, path="a.cfg", text="y"),
        partial(services.change_layer, layer=layer, changes={"name": "B"}, seen={"name": layer.name}, share=[alice]),
        partial(services.change_source, by=alice, layer=layer, source={}),
        partial(services.delete_layer, layer=layer),
    ):
        with pytest.raises(LayerGone, match="was deleted"):
            late()


def test_blueprints_of_one_slug_made_at_once_are_one_and_the_rest_is_told(mod: User) -> None:
    form = {"name": "Same", "slug": "same", "summary": "", "game": "practice", "settings": "{}", "position": "0"}
    clients = [Client() for _ in range(AT_ONCE)]
    for client in clients:
        client.force_login(mod)
    answers = race([partial(client.post, "/admin/servers/blueprint/add/", form) for client in clients])
    assert sorted(answer.status_code for answer in answers) == [302] + [422] * (AT_ONCE - 1)
    assert all(b"already exists" in answer.content for answer in answers if answer.status_code == 200)
    assert Blueprint.objects.filter(slug="same").count() == 1
