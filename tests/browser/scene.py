"""A community in the database, for looking at pages: servers in every state, long names, people and jobs.

Nothing here runs: what an agent would have seen is written as rows. Tests of behaviour use real processes instead.
"""

from datetime import timedelta

from django.utils import timezone

from jobs import streams
from jobs.models import Job, Stream
from portal.models import User
from servers import services
from servers.models import Blueprint, Layer, LayerBuild, LayerFile, Membership, Node, Right, Server, ServerPort

PASSWORD = "correct horse battery"
CAMPAIGNS = ["c1m2_streets", "c2m4_barns", "c5m1_waterfront", "c8m3_sewers", "c11m1_greenhouse"]
PLAYERS = ["Zoey ✿", "mike", "[GoD] Ellis the Unstoppable", "Coach", "n1ck", "Rochelle", "francis", "bill"]
CONSOLE = [
    "Server is hibernating",
    'L 11/24/2026 - 20:01:14: "{player}<7><STEAM_1:0:104412><>" entered the game',
    'Client "{player}" connected (84.112.30.7:27005).',
    '[SM] Changed map to "{map}"',
    'L 11/24/2026 - 20:04:02: World triggered "Round_Start"',
    "ConVarRef room_type doesn't point to an existing ConVar",
    "CNavMesh: loaded 14211 areas in 0.34 s",
    "{player}: anyone got a med kit? the <b>tank</b> is behind the church & I am at 12 hp",
]


def _seen(players: int, size: int, map_name: str) -> dict[str, object]:
    names = [
        {"name": PLAYERS[n % len(PLAYERS)], "score": 31 - 3 * n, "seconds": 4400 - 431 * n, "bot": n > 5}
        for n in range(players)
    ]
    return {
        "ok": True, "map": map_name, "name": "x", "players": players, "max_players": size, "bots": 0, "list": names,
    }  # fmt: skip


def make_server(owner: User, name: str, port: int, **values: object) -> Server:
    """A server with a console of some lines."""
    node = Node.objects.get_or_create(slug="local", defaults={"name": "Local", "address": "play.example.org"})[0]
    blueprint = Blueprint.objects.filter(game=values.get("game", "practice")).first()
    defaults = {"game": "practice", "unit_at": timezone.now() - timedelta(hours=2, minutes=14)}
    server = Server.objects.create(
        name=name, owner=owner, node=node, blueprint=blueprint, console=Stream.objects.create(), **defaults | values
    )
    ServerPort.objects.create(server=server, node=node, name="game", number=port)
    player, where = PLAYERS[port % 5], CAMPAIGNS[port % 5]
    streams.append(server.console_id, [line.format(player=player, map=where) for line in CONSOLE * 5])
    return server


def make_job(server: Server, verb: str, state: str, *, minutes: int, by: User, **values: object) -> Job:
    """A job about a server, asked for some minutes ago."""
    asked = timezone.now() - timedelta(minutes=minutes)
    began = None if state == "queued" else asked + timedelta(milliseconds=120)
    ended = asked + timedelta(seconds=2.4) if state not in ("queued", "running") else None
    job = Job.objects.create(
        kind=f"servers.{verb.lower()}", subject=server.topic, title=f"{verb} {server.name}", node="local",
        stream=Stream.objects.create(), state=state, requested_by=by, created_at=asked,
        started_at=began, finished_at=ended, **values,
    )  # fmt: skip
    streams.append(
        job.stream_id, [f"{verb} {server.name}", "Mounting 2 layers over practice 1.0", "Started as process 4127"]
    )
    return job


def furnish(alice: User, bob: User) -> Server:
    """The scene; returns the server whose page is worth a picture."""
    run = {"desired": "run", "unit": "running", "query_at": timezone.now()}
    main = make_server(alice, "friday-coop", 27015, game="left4dead2", query=_seen(6, 8, "c2m4_barns"), **run)
    for verb, minutes in (("Start", 3000), ("Stop", 2800), ("Restart", 134)):
        make_job(main, verb, "succeeded", minutes=minutes, by=alice)
    Membership.objects.create(server=main, user=bob, rights=["view", "power", "console"])
    make_server(alice, "versus-night", 27016, game="left4dead2", query=_seen(0, 8, "c5m1_waterfront"), **run)
    make_server(alice, "practice", 27017)
    crashed = make_server(
        alice, "broken-mutation", 27018, unit="crashed",
        unit_detail="It crashed 5 times within 2 minutes, so it was not started again: exit status 139.",
    )  # fmt: skip
    make_job(crashed, "Start", "succeeded", minutes=4, by=alice)
    starting = make_server(alice, "openarena-ffa", 27019, game="openarena", desired="run")
    make_job(starting, "Start", "queued", minutes=0, by=alice)
    shared = make_server(bob, "a-name-as-long-as-a-name-may-be0", 27020, query=_seen(12, 32, "c1m2_streets"), **run)
    Membership.objects.create(server=shared, user=alice, rights=[Right.VIEW, Right.POWER])
    return main


def make_stack(owner: User) -> Server:
    """The server "layered", with layers One, Two and Three, of which the first two supply one file."""
    blueprint = Blueprint.objects.create(slug="layered", name="Layered", game="left4dead2")
    server = services.create_server(by=owner, name="layered", blueprint=blueprint)
    for number, name in enumerate(("One", "Two", "Three")):
        layer = Layer.objects.create(slug=name.lower(), name=name, game="left4dead2", kind="files", owner=owner)
        layer.build = LayerBuild.objects.create(layer=layer, digest=f"{number:064d}", size_bytes=1, file_count=1)
        layer.save()
        LayerFile.objects.create(build=layer.build, path=f"left4dead2/cfg/{number // 2}.cfg", size_bytes=1)
        services.add_to_stack(by=owner, holder=server, layer=layer)
    return server
