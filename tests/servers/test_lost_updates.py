"""Two who save at once: different fields both stay, and of the same text the second is told of the first."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.test import Client

from portal.models import User
from servers import services
from servers.models import Blueprint, Layer, Node, Server
from tests.api import Api
from tests.stack import wait_for

pytestmark = pytest.mark.django_db
PATH = "left4dead2/cfg/a.cfg"


def fields_of(page: str, action: str = "") -> dict[str, str]:
    """What a browser sends of the page's form: of that action, or of its only one with fields."""
    form = max(re.findall(rf"<form[^>]*{re.escape(action)}[^>]*>.*?</form>", page, re.S), key=len)
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_off = attributes.get("type") == "checkbox" and " checked" not in re.sub(r'"[^"]*"', "", tag)
        if attributes.get("name") and not is_off:
            found[attributes["name"]] = attributes.get("value", "on" if attributes.get("type") == "checkbox" else "")
    for name, options in re.findall(r'<select name="([^"]*)".*?>(.*?)</select>', form, re.S):
        chosen = re.search(r'value="([^"]*)"[^>]* selected', options) or re.search(r'value="([^"]*)"', options)
        found[name] = chosen[1] if chosen else ""
    return found | dict(re.findall(r'<textarea name="([^"]*)"[^>]*>\r?\n?(.*?)</textarea>', form, re.S))


def open_form(client: Client, url: str, action: str = "") -> dict[str, str]:
    return fields_of(client.get(url).content.decode(), action)


@pytest.fixture
def browser(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def make_layer(alice: User) -> Callable[..., Layer]:
    def make(kind: str, **source: object) -> Layer:
        return Layer.objects.create(slug="mine", name="Mine", game="left4dead2", kind=kind, owner=alice, source=source)

    return make


def test_two_tabs_with_different_settings_both_keep_theirs(browser: Client, server: Server) -> None:
    url = f"/servers/{server.name}/settings/"
    one, two = open_form(browser, url), open_form(browser, url)
    assert browser.post(url, one | {"set-hostname": "House"}).status_code == 302
    assert browser.post(url, two | {"set-max_players": "4"}).status_code == 302
    server.refresh_from_db()
    assert server.settings == {"hostname": "House", "max_players": 4}, "and nothing that nobody changed is noted"


def test_two_tabs_with_the_same_setting_tell_the_second(browser: Client, server: Server) -> None:
    url = f"/servers/{server.name}/settings/"
    one, two = open_form(browser, url), open_form(browser, url)
    browser.post(url, one | {"set-hostname": "House"})
    told = browser.post(url, two | {"set-hostname": "Home", "set-max_players": "4"})
    assert told.status_code == 409
    page = told.content.decode()
    assert "Somebody changed it to “House” since you opened this page" in page
    server.refresh_from_db()
    assert server.settings == {"hostname": "House"}, "nothing of a refused form is stored"
    again = fields_of(page)
    assert (again["set-hostname"], again["set-max_players"]) == ("Home", "4")
    assert browser.post(url, again).status_code == 302
    server.refresh_from_db()
    assert server.settings == {"hostname": "Home", "max_players": 4}


def test_an_emptied_setting_is_the_default_again_and_an_unticked_one_is_off(browser: Client, server: Server) -> None:
    services.change_settings(by=server.owner, server=server, changes={"max_players": 4, "password": "x"})
    url = f"/servers/{server.name}/settings/"
    assert browser.post(url, open_form(browser, url) | {"set-max_players": "", "set-password": ""}).status_code == 302
    server.refresh_from_db()
    assert server.settings == {"password": ""}


def test_the_same_value_twice_is_no_conflict(browser: Client, server: Server) -> None:
    url = f"/servers/{server.name}/settings/"
    two = open_form(browser, url)
    services.change_settings(by=server.owner, server=server, changes={"hostname": "House"})
    assert browser.post(url, two | {"set-hostname": "House"}).status_code == 302


def test_of_two_texts_of_a_layers_file_the_second_is_shown_both(
    browser: Client, make_layer: Callable[..., Layer]
) -> None:
    layer, url = make_layer("files", files={PATH: "first"}), f"/layers/mine/file/?path={PATH}"
    sent = open_form(browser, url)
    services.write_layer_file(by=layer.owner, layer=layer, path=PATH, text="theirs")
    for more in ({"text": "mine"}, {"delete": "1"}):
        told = browser.post(url, sent | more)
        page = told.content.decode()
        assert told.status_code == 409
        assert "Somebody saved another text since you opened it." in page
        assert ">theirs</pre>" in page
    layer.refresh_from_db()
    assert layer.source["files"] == {PATH: "theirs"}
    again = fields_of(browser.post(url, sent | {"text": "mine"}).content.decode())
    assert browser.post(url, again).status_code == 302
    layer.refresh_from_db()
    assert layer.source["files"] == {PATH: "mine"}


def test_a_new_file_of_a_layer_never_goes_over_one_that_is_there(
    browser: Client, make_layer: Callable[..., Layer]
) -> None:
    layer = make_layer("files", files={PATH: "theirs"})
    sent = open_form(browser, "/layers/mine/file/") | {"path": PATH, "text": "mine"}
    told = browser.post("/layers/mine/file/", sent)
    assert told.status_code == 409
    assert browser.post("/layers/mine/file/", fields_of(told.content.decode())).status_code == 302
    layer.refresh_from_db()
    assert layer.source["files"] == {PATH: "mine"}


def test_a_file_that_was_deleted_meanwhile_is_told(browser: Client, make_layer: Callable[..., Layer]) -> None:
    layer, url = make_layer("files", files={PATH: "first", "b.txt": "x"}), f"/layers/mine/file/?path={PATH}"
    sent = open_form(browser, url)
    services.write_layer_file(by=layer.owner, layer=layer, path=PATH, text=None)
    told = browser.post(url, sent | {"text": "mine"})
    assert told.status_code == 409
    assert "Somebody deleted it since you opened it." in told.content.decode()


@pytest.mark.parametrize(
    ("kind", "field", "first", "theirs", "mine"),
    [("script", "script", "true", "echo theirs", "echo mine"), ("workshop", "ids", "1", "1\n2", "1\n3")],
)
def test_of_two_sources_of_a_layer_the_second_is_shown_both(
    client: Client,
    make_layer: Callable[..., Layer],
    alice: User,
    kind: str,
    field: str,
    first: str,
    theirs: str,
    mine: str,
) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    client.force_login(alice)
    layer = make_layer(kind, **({"ids": [first]} if kind == "workshop" else {"script": first, "network": False}))
    action = f"/layers/mine/{'items' if kind == 'workshop' else 'script'}/"
    sent = open_form(client, "/layers/mine/", action)
    assert client.post(action, open_form(client, "/layers/mine/", action) | {field: theirs}).status_code == 302
    told = client.post(action, sent | {field: mine})
    page = told.content.decode()
    assert told.status_code == 409
    assert f">{theirs}</pre>" in page
    assert fields_of(page, action)[field] == mine
    assert client.post(action, fields_of(page, action)).status_code == 302
    layer.refresh_from_db()
    assert layer.source_text == mine


def test_wrong_items_are_told_beside_what_was_typed(browser: Client, make_layer: Callable[..., Layer]) -> None:
    make_layer("workshop", ids=["1"])
    sent = open_form(browser, "/layers/mine/", "/layers/mine/items/") | {"ids": "1\nnonsense"}
    told = browser.post("/layers/mine/items/", sent)
    assert told.status_code == 422
    assert fields_of(told.content.decode(), "/layers/mine/items/")["ids"] == "1\nnonsense"


def test_a_build_that_ends_late_does_not_bring_former_items_back(make_layer: Callable[..., Layer]) -> None:
    layer = make_layer("workshop", ids=["1"])
    services.change_source(by=layer.owner, layer=layer, source={"ids": ["2"]})
    services.record_items(layer=layer, items=[{"id": "1", "title": "One"}])  # of the build that was under way
    layer.refresh_from_db()
    assert layer.source["ids"] == ["2"]


def test_name_and_members_of_a_layer_are_changed_each_for_itself(
    browser: Client, make_layer: Callable[..., Layer], bob: User, charlie: User, mod: User
) -> None:
    layer, url, action = make_layer("files", files={PATH: ""}), "/layers/mine/", "/layers/mine/change/"
    layer.shared_with.add(mod)
    one, two, three = (open_form(browser, url, action) for _ in range(3))
    assert browser.post(action, one | {"name": "Other", "shared_with": f"{mod}, {bob}"}).status_code == 302
    assert browser.post(action, two | {"visibility": "shared", "shared_with": f"{charlie}"}).status_code == 302
    layer.refresh_from_db()
    assert (layer.name, layer.visibility) == ("Other", "shared")
    assert set(layer.shared_with.all()) == {bob, charlie}, (
        "one gave it to bob; the other to charlie, and took it from mod"
    )
    told = browser.post(action, three | {"name": "Third"})
    assert told.status_code == 409
    assert "Somebody changed it to “Other”" in told.content.decode()


def test_limits_that_were_not_changed_are_not_stored(client: Client, server: Server, mod: User) -> None:
    client.force_login(mod)
    url = client.get(f"/servers/{server.name}/settings/").content.decode().split('">Change them')[0].split('href="')[-1]
    sent = open_form(client, url)
    services.set_limits(by=mod, server=server, limits={"memory_mib": 2048})
    assert client.post(url, sent | {"cpu_percent": "150"}).status_code == 302
    server.refresh_from_db()
    assert (server.memory_mib, server.cpu_percent) == (2048, 150)
    assert b"Somebody changed it" in client.post(url, sent | {"memory_mib": "1024"}).content


def test_two_moderators_change_a_blueprint_and_neither_undoes_the_other(
    client: Client, blueprint: Blueprint, mod: User
) -> None:
    client.force_login(mod)
    url = f"/admin/servers/blueprint/{blueprint.pk}/change/"
    one, two, three = (open_form(client, url, "blueprint_form") for _ in range(3))
    assert client.post(url, one | {"summary": "For two"}).status_code == 302
    assert client.post(url, two | {"position": "7"}).status_code == 302
    blueprint.refresh_from_db()
    assert (blueprint.summary, blueprint.position) == ("For two", 7)
    assert client.post(url, one | {"settings": '{"max_players": 4}'}).status_code == 302
    told = client.post(url, three | {"settings": '{"max_players": 8}'})
    assert "Somebody changed it to" in told.content.decode()
    blueprint.refresh_from_db()
    assert blueprint.settings == {"max_players": 4}


@pytest.mark.django_db(transaction=True)
def test_two_moderators_who_save_a_blueprint_at_the_same_moment_both_keep_theirs(
    client: Client, blueprint: Blueprint, mod: User
) -> None:
    """The second's form is read once the first has been stored."""
    client.force_login(mod)
    url = f"/admin/servers/blueprint/{blueprint.pk}/change/"
    sent = open_form(client, url, "blueprint_form") | {"position": "7"}

    def post() -> int:
        try:
            return client.post(url, sent).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Blueprint.objects.filter(pk=blueprint.pk).update(summary="For two")
            posted = pool.submit(post)
            wait_for(lambda: posted.done() or somebody_waits(), what="the second at the row")
        assert posted.result(30) == 302
    blueprint.refresh_from_db()
    assert (blueprint.summary, blueprint.position) == ("For two", 7)


def somebody_waits() -> bool:
    with connection.cursor() as db:
        db.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(db.fetchone()[0])


def test_a_stack_is_replaced_only_as_it_was_seen(server: Server, alice: User, make_layer: Callable[..., Layer]) -> None:
    Layer.objects.create(slug="other", name="Other", game="practice", kind="files", owner=alice)
    Layer.objects.filter(pk=make_layer("files").pk).update(game="practice")
    url, api = f"/servers/{server.name}/layers", Api(alice)
    seen = api("get", url).json()
    assert api("put", url, {"layers": ["other"]}).status_code == 200
    refused = api("put", f"{url}?was={seen['version']}", {"layers": ["mine"]})
    assert refused.status_code == 409
    assert "changed by somebody else" in refused.json()["detail"]
    now = api("get", url).json()
    assert now["layers"] == ["other"]
    assert api("put", f"{url}?was={now['version']}", {"layers": ["mine"]}).json()["layers"] == ["mine"]


def test_a_node_keeps_the_address_that_another_administrator_gave_it(client: Client, node: Node, mod: User) -> None:
    User.objects.filter(pk=mod.pk).update(is_superuser=True)
    client.force_login(mod)
    url = f"/admin/servers/node/{node.pk}/change/"
    one, two = open_form(client, url, "node_form"), open_form(client, url, "node_form")
    assert client.post(url, one | {"address": "play.example.org"}).status_code == 302
    assert client.post(url, two | {"name": "Cellar"}).status_code == 302
    node.refresh_from_db()
    assert (node.name, node.address) == ("Cellar", "play.example.org")
