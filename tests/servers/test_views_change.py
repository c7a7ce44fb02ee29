"""What members change on pages: each with good input, with bad input that keeps what was typed, and without scripts."""

import json

import pytest
from django.test import Client

from jobs import streams
from jobs.models import Job
from jobs.services import cancel
from portal.models import User
from servers import services
from servers.models import Blueprint, Membership, Right, Server

HTMX = {"HX-Request": "true"}


@pytest.fixture
def member(client: Client, alice: User) -> Client:
    client.force_login(alice)
    return client


def new_server(**values: str) -> dict[str, str]:
    return {"blueprint": "practice", "name": "friday", "set-hostname": "Friday", "set-max_players": "12"} | values


def test_a_server_is_made_with_its_settings_and_shown(member: Client, blueprint: Blueprint) -> None:
    answer = member.post("/new-server/", new_server(), follow=True)
    assert answer.redirect_chain == [("/servers/friday/", 302)]
    assert "friday is ready." in answer.content.decode()
    made = Server.objects.get()
    assert made.settings["hostname"] == "Friday"
    assert made.settings["max_players"] == 12
    assert made.owner.username == "alice"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "Friday Night"}, "Use small letters a to z, digits and hyphens only"),
        ({"name": "-x"}, "Begin and end the name with a letter or a digit"),
        ({"name": "x" * 33}, "Use 32 at most."),
        ({"name": "alices-practice"}, "is taken. Choose another one."),
        ({"set-max_players": "many"}, "Player slots has to be a whole number."),
        ({"set-max_players": "99"}, "Player slots has to be between 1 and 32."),
        ({"set-map": "nowhere"}, "Select a valid choice."),
        ({"set-hostname": 'a "quoted" one'}, "Server name may not hold"),
        ({"set-hostname": "two\nlines"}, "Server name may not hold line breaks"),
        ({"set-tags": "$(reboot) `id`"}, "Tags does not have the right form."),
        ({"blueprint": "no-such"}, "Select a valid choice."),
    ],
)
def test_bad_input_is_explained_beside_the_field_and_nothing_typed_is_lost(
    member: Client, blueprint: Blueprint, server: Server, values: dict[str, str], sentence: str
) -> None:
    answer = member.post("/new-server/", new_server(**{"set-password": "typed before"}) | values)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page.replace("&quot;", '"').replace("&#x27;", "'")
    assert 'value="typed before"' in page
    assert list(Server.objects.all()) == [server]


def test_an_error_in_a_folded_field_unfolds_it(member: Client, blueprint: Blueprint) -> None:
    assert (
        '<details class="more" open>' in member.post("/new-server/", new_server(**{"set-tags": "a b"})).content.decode()
    )
    assert '<details class="more">' in member.get("/new-server/").content.decode()


def test_picking_a_blueprint_brings_its_settings_and_keeps_the_name(member: Client, blueprint: Blueprint) -> None:
    Blueprint.objects.create(slug="arena", name="Arena", game="openarena", settings={"hostname": "From the blueprint"})
    fields = member.get("/new-server/", {"blueprint": "arena", "name": "kept"}, headers=HTMX).content.decode()
    assert 'value="From the blueprint"' in fields
    assert "<html" not in fields
    whole = member.get("/new-server/", {"blueprint": "arena", "name": "kept"}).content.decode()
    assert 'value="From the blueprint"' in whole
    assert 'value="kept"' in whole


def test_settings_of_one_blueprint_never_make_a_server_of_another(member: Client, blueprint: Blueprint) -> None:
    Blueprint.objects.create(slug="arena", name="Arena", game="openarena", settings={"hostname": "From the blueprint"})
    sent = new_server(blueprint="arena", name="quick") | {"settings-of": blueprint.slug}
    answer = member.post("/new-server/", sent)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "These are the settings of Arena." in page
    assert 'value="From the blueprint"' in page
    assert 'value="quick"' in page
    assert not Server.objects.filter(name="quick").exists()
    member.post("/new-server/", new_server(name="quick") | {"settings-of": blueprint.slug})
    assert Server.objects.get(name="quick").blueprint == blueprint


def test_blueprints_not_offered_or_without_a_game_cannot_be_picked(member: Client, blueprint: Blueprint) -> None:
    Blueprint.objects.create(slug="hidden", name="Hidden one", game="practice", is_offered=False)
    Blueprint.objects.create(slug="dead", name="Dead one", game="no-such-game")
    page = member.get("/new-server/").content.decode()
    assert "Hidden one" not in page
    assert "Dead one" not in page
    for slug in ("hidden", "dead"):
        assert member.post("/new-server/", new_server(blueprint=slug)).status_code == 422
    Blueprint.objects.all().delete()
    assert "Nothing to pick from yet" in member.get("/new-server/").content.decode()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("free-one", "is free."),
        ("alices-practice", "is taken."),
        ("Bad Name", "Use small letters"),
        ("<script>", "&lt;"),
        ("", ""),
    ],
)
def test_a_name_is_judged_while_it_is_typed(member: Client, server: Server, name: str, hint: str) -> None:
    answer = member.get("/new-server/name/", {"name": name}).content.decode()
    assert hint in answer
    assert "<script>" not in answer


def test_start_answers_scripts_with_a_message_and_what_to_refresh(member: Client, server: Server) -> None:
    answer = member.post(f"/servers/{server.name}/start/", headers=HTMX)
    assert answer.status_code == 204
    events = json.loads(answer.headers["HX-Trigger"])
    assert events["toast"] == {"text": "alices-practice is starting.", "kind": "info"}
    assert events["changed"]["topics"] == [server.topic]
    assert Job.objects.filter(subject=server.topic, kind="servers.start").count() == 1


def test_start_without_scripts_leads_back_to_the_page(member: Client, server: Server) -> None:
    answer = member.post(f"/servers/{server.name}/start/", follow=True)
    assert answer.redirect_chain == [(f"/servers/{server.name}/", 302)]
    assert "alices-practice is starting." in answer.content.decode()


def test_a_refused_start_says_why(member: Client, server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(game="forgotten")
    answer = member.post(f"/servers/{server.name}/start/", headers=HTMX)
    assert answer.status_code == 409
    assert json.loads(answer.headers["HX-Trigger"])["toast"]["kind"] == "error"
    page = member.post(f"/servers/{server.name}/start/", follow=True).content.decode()
    assert "No game is called" in page


def test_settings_are_saved_and_shown_again(member: Client, server: Server) -> None:
    path = f"/servers/{server.name}/settings/"
    answer = member.post(
        path, {"set-hostname": "New name", "set-max_players": "5", "set-map": "c1m1_hotel"}, follow=True
    )
    assert "The settings are saved." in answer.content.decode()
    assert 'value="New name"' in answer.content.decode()
    server.refresh_from_db()
    assert server.settings["max_players"] == 5


def test_bad_settings_are_explained_and_not_saved(member: Client, server: Server) -> None:
    answer = member.post(f"/servers/{server.name}/settings/", {"set-hostname": "", "set-max_players": "0"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Server name may not be empty." in page
    assert "Player slots has to be between 1 and 32." in page
    server.refresh_from_db()
    assert server.settings == {}


def test_a_server_is_shared_changed_and_taken_back(member: Client, server: Server, bob: User) -> None:
    path = f"/servers/{server.name}/people/"
    member.post(path, {"username": "BOB", "rights": ["power"]})
    assert Membership.objects.get().rights == ["power", "view"]
    page = member.post(path, {"username": "bob", "rights": ["console", "rcon"]}, follow=True).content.decode()
    assert "is shared with bob." in page
    assert Membership.objects.get().rights == ["console", "rcon", "view"]
    assert member.post(f"{path}{bob.pk}/remove/", headers=HTMX).status_code == 204
    assert not Membership.objects.exists()


def test_sharing_with_nobody_or_the_owner_is_refused(member: Client, server: Server) -> None:
    path = f"/servers/{server.name}/people/"
    for username, sentence in (("ghost", "There is no member called ghost."), ("alice", "may do everything already")):
        answer = member.post(path, {"username": username, "rights": ["power"]})
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert member.post(f"{path}999999/remove/").status_code == 404


def test_a_member_may_not_give_what_they_lack_but_may_leave(
    client: Client, server: Server, bob: User, charlie: User, share
) -> None:
    share(bob, Right.MEMBERS)
    client.force_login(bob)
    answer = client.post(f"/servers/{server.name}/people/", {"username": "charlie", "rights": ["rcon"]})
    assert answer.status_code == 422
    assert "rights that you have yourself" in answer.content.decode()
    left = client.post(f"/servers/{server.name}/people/{bob.pk}/remove/", follow=True)
    assert "You left alices-practice." in left.content.decode()


def test_deleting_asks_for_the_name(member: Client, server: Server) -> None:
    path = f"/servers/{server.name}/delete/"
    answer = member.post(path, {"confirm": "alices"})
    assert answer.status_code == 422
    assert "That is not its name." in answer.content.decode()
    done = member.post(path, {"confirm": "alices-practice"}, follow=True)
    assert done.redirect_chain == [("/", 302)]
    assert "A moderator can bring it back for 7 days." in done.content.decode()
    server.refresh_from_db()
    assert server.deleted_at


@pytest.mark.parametrize(
    ("command", "sentence"), [("status", "is not running"), ("  ", "Type a command first."), ("x" * 900, "too long")]
)
def test_a_command_that_cannot_be_sent_is_explained(
    member: Client, server: Server, command: str, sentence: str
) -> None:
    answer = member.post(f"/servers/{server.name}/command/", {"command": command}, headers=HTMX)
    assert answer.status_code == 409
    assert sentence in json.loads(answer.headers["HX-Trigger"])["toast"]["text"]


def test_a_crashed_server_shows_its_last_lines_to_who_may_read_them(
    client: Client, server: Server, alice: User, bob: User, share
) -> None:
    streams.append(server.console_id, [f"line {number}" for number in range(20)] + ["<b>Segmentation fault</b>"])
    Server.objects.filter(pk=server.pk).update(unit="crashed", unit_detail="It ended with exit status 139.")
    client.force_login(alice)
    page = client.get(f"/servers/{server.name}/").content.decode()
    assert "It ended with exit status 139." in page
    assert "&lt;b&gt;Segmentation fault&lt;/b&gt;" in page
    assert "line 5\n" not in page
    share(bob, Right.POWER)
    client.force_login(bob)
    assert "Segmentation fault" not in client.get(f"/servers/{server.name}/").content.decode()


def test_a_failed_start_is_shown_until_something_else_happens(member: Client, server: Server, alice: User) -> None:
    job = services.start_server(by=alice, server=server)
    Job.objects.filter(pk=job.after_id).update(state="failed", finished_at="2026-01-01T00:00Z", error="No disk space.")
    Job.objects.filter(pk=job.pk).update(state="failed", finished_at="2026-01-01T00:00Z", error="Its game is missing.")
    page = member.get(f"/servers/{server.name}/").content.decode()
    assert "Start alices-practice did not work: Its game is missing." in page
    again = services.start_server(by=alice, server=server)
    assert "did not work" not in member.get(f"/servers/{server.name}/").content.decode()
    assert cancel(job=again, by=alice)
    assert "did not work" not in member.get(f"/servers/{server.name}/").content.decode()


def test_a_start_that_waits_for_its_game_says_how_far_that_is(member: Client, server: Server, alice: User) -> None:
    job = services.start_server(by=alice, server=server)
    assert job.after
    Job.objects.filter(pk=job.after.pk).update(state="running", started_at="2026-01-01T00:00Z", progress=37)
    page = member.get(f"/servers/{server.name}/").content.decode()
    assert f"{job.after.title}</a> comes first. {server.name} starts by itself after that." in page
    assert 'value="37" aria-label="Progress of Install Practice (demonstration)"' in page
    assert f'data-topic="{server.topic} user:{alice.pk} {job.after.subject}"' in page, "so that the progress is live"
