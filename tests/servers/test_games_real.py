"""Real game servers, installed from Debian and started as their definitions say, seen by three independent clients."""

import asyncio
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from opengsq import Quake3, Source

from servers import query, rcon
from servers.protocols.status import Listed, read_players
from tests.gamedig import gamedig
from tests.games_cache import RunningGame, running, send
from tests.stack import wait_for

pytestmark = pytest.mark.games
# ioquake3 answers an address once a second, with ten answers saved up; asking faster loses some.
POLITE = 2.0


def ask(running: RunningGame) -> query.QueryResult | None:
    try:
        return asyncio.run(query.query(running.game, running.host, running.ports))
    except query.QueryError:
        return None


@pytest.fixture(scope="module")
def openarena() -> Iterator[RunningGame]:
    with running("openarena", hostname="^1Alice's arena", bots=2, map="oa_dm4") as started:
        yield started


@pytest.fixture(scope="module")
def teeworlds() -> Iterator[RunningGame]:
    with running("teeworlds", hostname='Bob "the tee" \\ Ünïcode; #1', map="dm2", max_players=7) as started:
        yield started


@pytest.fixture(scope="module")
def practice() -> Iterator[RunningGame]:
    """Its players come but do not leave by themselves: what several clients see is to be the same."""
    with running("practice", hostname="Practice here", simulated_players=3) as started:
        wait_for(lambda: ask(started), seconds=30, what="the practice game answering")
        send(started, "demo_leaving 0")
        yield started


def test_openarena_shows_its_map_and_its_bots_as_players(openarena: RunningGame) -> None:
    def full() -> query.QueryResult | None:
        seen = ask(openarena)
        return seen if seen and seen.bots == 2 else None

    seen = wait_for(full, seconds=90, every=POLITE, what="two bots playing")
    assert (seen.map, seen.max_players, seen.players) == ("oa_dm4", 12, 2)
    assert seen.name == "Alice's arena"
    assert len({player.name for player in seen.list}) == 2


def test_two_independent_clients_read_the_same_of_openarena(openarena: RunningGame) -> None:
    seen = wait_for(lambda: ask(openarena), seconds=60, every=POLITE, what="OpenArena answering")
    other = gamedig("openarena", openarena.host, openarena.ports["game"])
    assert (other["map"], other["name"], int(other["maxplayers"])) == (seen.map, seen.name, seen.max_players)
    third = asyncio.run(Quake3(openarena.host, openarena.ports["game"]).get_status())
    assert third.info["mapname"] == seen.map
    names = {player["name"] for player in other["players"] + other["bots"]} & {player.name for player in third.players}
    assert names >= {player.name for player in seen.list}


def test_openarena_takes_commands(openarena: RunningGame) -> None:
    wait_for(lambda: ask(openarena), seconds=60, every=POLITE, what="OpenArena answering")
    assert "map: oa_dm4" in send(openarena, "status")
    assert send(openarena, "set fraglimit 7") == ""
    assert '"7' in send(openarena, "fraglimit")
    with pytest.raises(rcon.RconDenied):
        send(openarena, "status", secret="wrong")


def test_openarena_is_announced_nowhere_unless_it_is_told_to(openarena: RunningGame) -> None:
    wait_for(lambda: ask(openarena), seconds=60, every=POLITE, what="OpenArena answering")
    assert '"1' in send(openarena, "dedicated")
    assert "heartbeat" not in openarena.output.lower()


def test_teeworlds_shows_name_map_and_slots(teeworlds: RunningGame) -> None:
    seen = wait_for(lambda: ask(teeworlds), seconds=30, what="Teeworlds answering")
    assert seen.name == 'Bob "the tee" \\ Ünïcode; #1'
    assert (seen.map, seen.players, seen.max_players) == ("dm2", 0, 7)


def test_teeworlds_takes_commands(teeworlds: RunningGame) -> None:
    wait_for(lambda: ask(teeworlds), seconds=30, what="Teeworlds answering")
    assert "Value: 20" in send(teeworlds, "sv_scorelimit")
    send(teeworlds, "sv_scorelimit 33")
    assert "Value: 33" in send(teeworlds, "sv_scorelimit")
    with pytest.raises(rcon.RconDenied):
        send(teeworlds, "status", secret="wrong")


def test_teeworlds_changes_its_map_by_command_and_the_query_follows(teeworlds: RunningGame) -> None:
    wait_for(lambda: ask(teeworlds), seconds=30, what="Teeworlds answering")
    send(teeworlds, "change_map ctf1")
    wait_for(lambda: getattr(ask(teeworlds), "map", "") == "ctf1", seconds=30, what="the new map")


def test_the_practice_game_reads_the_same_to_three_clients(practice: RunningGame) -> None:
    def settled() -> tuple[query.QueryResult, dict[str, Any], Any, Any] | None:
        seen = ask(practice)
        if not seen or seen.players < 3:
            return None
        port = practice.ports["game"]
        other = gamedig("l4d2", practice.host, port, "--requestRules")
        source = Source(practice.host, port)
        info, players = asyncio.run(source.get_info()), asyncio.run(source.get_players())
        return (seen, other, info, players) if other["numplayers"] == info.players == seen.players else None

    seen, other, info, players = wait_for(settled, seconds=60, what="three clients asking between two changes")
    assert seen.name == other["name"] == info.name == "Practice here"
    assert seen.map == other["map"] == info.map == "c1m1_hotel"
    assert seen.max_players == other["maxplayers"] == info.max_players == 8
    assert len(seen.list) == len(other["players"]) == len(players) == seen.players
    assert other["raw"]["rules"]["demo_players"] == "3"
    assert "rcon_password" not in other["raw"]["rules"]


@pytest.mark.parametrize("slug", ["openarena", "teeworlds", "practice"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_the_game_in_time(slug: str, number: signal.Signals) -> None:
    with running(slug) as started:
        wait_for(lambda: ask(started), seconds=60, every=POLITE, what="the game answering")
        started.process.send_signal(number)
        started.process.wait(15)


def act(running: RunningGame, action: str, value: str | int) -> str:
    """What a button of the panel does."""
    lines = running.game.actions.lines(action, value, running.game.console)
    return "".join(send(running, line) for line in lines)


def test_openarenas_players_are_listed_and_kicked_by_number(openarena: RunningGame) -> None:
    def listed() -> tuple[Listed, ...]:
        try:
            return read_players("quake3", send(openarena, "status"))
        except rcon.RconError:
            return ()

    wait_for(lambda: ask(openarena), seconds=60, every=POLITE, what="OpenArena answering")
    send(openarena, "set bot_minplayers 0")
    send(openarena, "addbot sarge")
    found = wait_for(lambda: next((one for one in listed() if one.name == "Sarge"), None), seconds=90, every=POLITE)
    assert found.bot
    act(openarena, "kick", found.id)
    # Another of that name may be there: the bots that come by themselves have any.
    assert (found.id, "Sarge") not in {(one.id, one.name) for one in listed()}


def test_openarena_takes_messages_and_maps_from_the_panel(openarena: RunningGame) -> None:
    wait_for(lambda: ask(openarena), seconds=60, every=POLITE, what="OpenArena answering")
    assert "hi //there $friends" in act(openarena, "say", "hi //there $friends")
    assert "Server: oa_dm2" in act(openarena, "changelevel", "oa_dm2")
    assert set(openarena.game.maps) >= {"oa_dm2", "oa_ctf2"}


def test_teeworlds_takes_messages_and_maps_from_the_panel(teeworlds: RunningGame) -> None:
    wait_for(lambda: ask(teeworlds), seconds=30, what="Teeworlds answering")
    said = 'grüß "Gott"; shutdown \\ #1'
    act(teeworlds, "say", said)
    wait_for(lambda: said in teeworlds.output, seconds=10, what="the message")
    act(teeworlds, "changelevel", "dm6")
    wait_for(lambda: getattr(ask(teeworlds), "map", "") == "dm6", seconds=30, what="the new map")
    assert "nvalid client" in act(teeworlds, "kick", 5)
