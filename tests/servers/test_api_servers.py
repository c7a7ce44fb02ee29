"""Servers over the HTTP API: what each of the cast may see and do, and what refusals say."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from jobs.models import Job, Stream
from portal.models import User
from servers.models import Blueprint, Membership, Node, Right, Server, ServerPort
from tests.api import Api

PATH = "/servers/alices-practice"
# What is asked, and the rights it takes: none of them means that only the owner and staff may.
VERBS: list[tuple[str, str, dict[str, object] | None, set[Right]]] = [
    ("get", "", None, {Right.VIEW}),
    ("get", "/jobs", None, {Right.VIEW}),
    ("patch", "", {"settings": {}}, {Right.SETTINGS}),
    ("delete", "", None, set()),
    ("post", "/start", None, {Right.POWER}),
    ("post", "/stop", None, {Right.POWER}),
    ("post", "/restart", None, {Right.POWER}),
    ("post", "/clone", {"name": "copy"}, {Right.SETTINGS, Right.FILES}),
    ("post", "/command", {"command": "say hi"}, {Right.RCON}),
    ("get", "/players", None, {Right.RCON}),
    ("post", "/players/3/kick", {"name": "x"}, {Right.RCON}),
    ("post", "/players/3/ban", {"name": "x"}, {Right.RCON}),
    ("post", "/say", {"text": "hi"}, {Right.RCON}),
    ("post", "/level", {"map": "c1m1_hotel"}, {Right.RCON}),
    ("post", "/later", {"verb": "stop"}, {Right.POWER}),
    ("delete", "/later", None, {Right.POWER}),
    ("get", "/activity?range=7d", None, {Right.VIEW}),
    ("get", "/members", None, {Right.MEMBERS}),
    ("post", "/members", {"username": "charlie", "rights": ["view"]}, {Right.MEMBERS}),
    ("delete", "/members/charlie", None, {Right.MEMBERS}),
]
each_verb = pytest.mark.parametrize(("method", "path", "body", "takes"), VERBS, ids=[f"{v[0]} {v[1]}" for v in VERBS])


@each_verb
def test_a_stranger_is_told_there_is_no_such_server(
    server: Server, charlie: User, method: str, path: str, body: dict[str, object] | None, takes: set[Right]
) -> None:
    answer = Api(charlie)(method, PATH + path, body)
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no such server."
    assert not Job.objects.exists()


@each_verb
def test_without_a_token_or_suspended_nobody_gets_through(
    server: Server, alice: User, method: str, path: str, body: dict[str, object] | None, takes: set[Right]
) -> None:
    suspended = Api(alice)
    User.objects.update(suspended_at=timezone.now())
    for asks in (Api(), suspended):
        assert asks(method, PATH + path, body).status_code == 401
    assert not Job.objects.exists()


@each_verb
def test_a_member_needs_exactly_the_rights_it_takes(
    server: Server,
    bob: User,
    charlie: User,
    share: Callable[..., Membership],
    method: str,
    path: str,
    body: dict[str, object] | None,
    takes: set[Right],
) -> None:
    share(bob, *takes)
    share(charlie)
    asks = Api(bob)
    if takes:
        # What needs a running game is refused with that reason, once the right is there.
        assert asks(method, PATH + path, body).status_code == OK[method, path]
    Membership.objects.filter(user=bob).update(rights=sorted({Right.VIEW, *set(Right) - takes}))
    if takes != {Right.VIEW}:
        assert asks(method, PATH + path, body).status_code == 403


OK = {(method, path): 202 if method in ("post", "delete") else 200 for method, path, _, _ in VERBS} | {
    ("post", "/members"): 200,
    ("delete", "/later"): 204,
    ("delete", "/members/charlie"): 204,
}
OK |= {
    (method, path): 409
    for method, path, _, takes in VERBS
    if takes == {Right.RCON} or (path == "/later" and method == "post")
}


@each_verb
def test_a_moderator_may_do_everything(
    server: Server,
    mod: User,
    charlie: User,
    method: str,
    path: str,
    body: dict[str, object] | None,
    takes: set[Right],
) -> None:
    assert Api(mod)(method, PATH + path, body).status_code == OK[method, path]


def test_a_server_is_shown_with_what_is_wanted_and_what_is_seen(server: Server, alice: User) -> None:
    seen = {"ok": True, "map": "dm_one", "players": 3, "max_players": 8}
    Server.objects.filter(pk=server.pk).update(desired="run", unit="running", query=seen, settings={"max_players": 8})
    shown = Api(alice)("get", PATH).json()
    assert shown.pop("created_at")
    assert shown == {
        "name": "alices-practice",
        "disk": {
            "bytes": 0,
            "measured_at": None,
            "is_cut": False,
            "used": 0,
            "limit": 40 << 30,
            "warning": "",
        },
        "limits": {"memory_mib": 4096, "cpu_percent": None, "tasks_max": 512, "open_files": 16_384},
        "owner": "alice",
        "game": "practice",
        "blueprint": "practice",
        "node": server.node.slug,
        "address": "127.0.0.1:27015",
        "desired": "run",
        "unit": "running",
        "unit_detail": "",
        "query": seen,
        "query_error": "",
        "console": server.console_id,
        "settings": {"max_players": 8},
        "follows_blueprint": False,
        "rights": sorted(Right),
    }


def test_why_a_game_does_not_answer_is_told_while_it_runs(server: Server, alice: User) -> None:
    silent = {"ok": False, "error": "The game did not answer within 2 seconds."}
    Server.objects.filter(pk=server.pk).update(unit="running", query=silent)
    api = Api(alice)
    shown = api("get", PATH).json()
    assert (shown["query"], shown["query_error"]) == ({}, "The game did not answer within 2 seconds.")
    Server.objects.filter(pk=server.pk).update(unit="stopped")
    assert api("get", PATH).json()["query_error"] == ""


def test_settings_are_shown_to_who_may_change_them(server: Server, bob: User, share: Callable[..., Membership]) -> None:
    Server.objects.filter(pk=server.pk).update(settings={"password": "for friends"})
    share(bob, Right.POWER)
    shown = Api(bob)("get", PATH).json()
    assert shown["settings"] is None
    assert shown["rights"] == ["power", "view"]


def test_a_server_is_created_from_a_blueprint(alice: User, node: Node, blueprint: Blueprint) -> None:
    Blueprint.objects.update(settings={"max_players": 4, "hostname": "Ours"})
    body = {"name": "tuesday", "blueprint": "practice", "settings": {"max_players": 6}}
    answer = Api(alice)("post", "/servers", body)
    assert answer.status_code == 201
    assert answer.json()["settings"] == {"max_players": 6, "hostname": "Ours"}
    assert (answer.json()["desired"], answer.json()["unit"]) == ("stop", "stopped")
    assert Server.objects.get(name="tuesday").owner == alice


@pytest.mark.parametrize(
    ("change", "status", "field", "sentence"),
    [
        ({"name": "alices-practice"}, 409, "name", "The name “alices-practice” is taken. Choose another one."),
        ({"name": "Tuesday Coop"}, 422, "name", "Use small letters"),
        ({"name": "bell\x07"}, 422, "name", "control characters"),
        ({"name": ""}, 422, "name", "Give the server a name."),
        ({"blueprint": "nothing"}, 422, "blueprint", "There is no such blueprint."),
        ({"settings": {"max_players": 4000}}, 422, "settings.max_players", "has to be between"),
        ({"settings": {"unheard": 1}}, 422, "settings.unheard", "has no setting"),
        ({"settings": {"hostname": ["a"]}}, 422, "settings.hostname", "valid"),
    ],
)
def test_what_does_not_fit_is_told_by_field_and_nothing_is_made(
    alice: User, server: Server, change: dict[str, object], status: int, field: str, sentence: str
) -> None:
    answer = Api(alice)("post", "/servers", {"name": "new", "blueprint": "practice"} | change)
    assert answer.status_code == status
    assert sentence in " ".join(
        text for key, texts in answer.json()["errors"].items() if key.startswith(field) for text in texts
    )
    assert Server.objects.count() == 1
    assert Stream.objects.count() == 1


def test_settings_that_are_not_named_stay(server: Server, alice: User) -> None:
    Server.objects.update(settings={"hostname": "Ours", "max_players": 4})
    changed = Api(alice)("patch", PATH, {"settings": {"max_players": 6, "hostname": None}})
    assert changed.status_code == 200
    assert changed.json()["settings"] == {"max_players": 6}


@pytest.mark.parametrize(("verb", "kind"), [("start", "servers.start"), ("stop", "servers.stop")])
def test_a_press_is_answered_with_its_job(server: Server, alice: User, verb: str, kind: str) -> None:
    answer = Api(alice)("post", f"{PATH}/{verb}")
    assert answer.status_code == 202
    job = Job.objects.get(pk=answer.json()["job"])
    assert (job.kind, job.subject, job.requested_by) == (kind, server.topic, alice)


def test_a_deleted_server_is_gone_at_once(server: Server, alice: User, mod: User) -> None:
    asks = Api(alice)
    assert asks("delete", PATH).status_code == 202
    for again in (asks, Api(mod)):
        assert again("get", PATH).status_code == 404
        assert again("get", "/servers").json() == {"items": [], "next": None}


def test_a_command_is_refused_while_the_server_is_stopped(server: Server, alice: User) -> None:
    answer = Api(alice)("post", f"{PATH}/command", {"command": "status"})
    assert answer.status_code == 409
    assert "is not running" in answer.json()["detail"]


@pytest.fixture
def fifty(server: Server, bob: User) -> list[str]:
    """Bob's fifty servers, beside Alice's one that he has no right on."""
    for number in range(50):
        made = Server.objects.create(
            name=f"server-{number:02}",
            owner=bob,
            node=server.node,
            blueprint=server.blueprint,
            game="practice",
            console=Stream.objects.create(),
        )
        ServerPort.objects.create(server=made, node=server.node, name="game", number=30_000 + number)
    return [f"server-{number:02}" for number in range(50)]


def test_a_list_is_read_page_by_page(fifty: list[str], bob: User) -> None:
    asks, found, cursor = Api(bob), [], ""
    while cursor is not None:
        page = asks("get", f"/servers?limit=20&cursor={cursor}").json()
        found += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert found == fifty


def test_a_list_costs_the_same_however_long(fifty: list[str], bob: User, mod: User, django_assert_num_queries) -> None:
    for user in (bob, mod):
        asks = Api(user)
        asks("get", "/servers?limit=1")  # notes the token's use
        with django_assert_num_queries(4):  # token, servers, ports, memberships
            assert len(asks("get", "/servers?limit=50").json()["items"]) == 50


def test_jobs_of_a_server_are_listed_newest_first(server: Server, alice: User) -> None:
    asks = Api(alice)
    numbers = [asks("post", f"{PATH}/{verb}").json()["job"] for verb in ("start", "stop", "start")]
    page = asks("get", f"{PATH}/jobs?limit=2").json()
    assert [job["id"] for job in page["items"]] == numbers[:0:-1]
    rest = asks("get", f"{PATH}/jobs?cursor={page['next']}").json()
    assert numbers[0] in [job["id"] for job in rest["items"]]
    assert asks("get", f"{PATH}/jobs?cursor=tomorrow").status_code == 422


def test_games_and_blueprints_say_what_can_be_created(alice: User, blueprint: Blueprint) -> None:
    Blueprint.objects.create(slug="hidden", name="Hidden", game="practice", is_offered=False)
    Blueprint.objects.create(slug="orphan", name="Orphan", game="no-such-game")
    asks = Api(alice)
    practice = next(game for game in asks("get", "/games").json()["items"] if game["slug"] == "practice")
    players = next(setting for setting in practice["settings"] if setting["key"] == "max_players")
    assert players["type"] == "integer"
    assert players["min"] < players["max"]
    listed = asks("get", "/blueprints").json()
    assert [item["slug"] for item in listed["items"]] == ["practice"]
    first = asks("get", "/games?limit=1").json()
    assert asks("get", f"/games?cursor={first['next']}").json()["items"][0]["slug"] > first["items"][0]["slug"]
