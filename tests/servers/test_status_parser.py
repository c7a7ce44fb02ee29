"""What consoles answer to `status`: every player with the right number, and no name that passes for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.protocols.status import Listed, read_players, read_roll
from servers.protocols.wire import TEXT
from tests.generated import cases
from tests.servers.malformed import damaged, try_all

L4D2 = """hostname: left4me
map     : c1m1_hotel
players : 2 humans, 1 bots (8 max) (not hibernating) (unreserved)

# userid name uniqueid connected ping loss state rate adr
#  2 1 "Zoey" STEAM_1:0:1 1:02:03 54 0 active 30000 192.0.2.1:27005
# 3 "Coach" BOT active
#  4 2 "a " b" STEAM_1:1:2 00:10 71 0 spawning 30000 192.0.2.2:27005
#end
"""
OPENARENA = """map: oa_dm1
cl score ping name            address                                 rate
-- ----- ---- --------------- --------------------------------------- -----
 0     3    0 Neko            bot                                     16384
 1    -1   48 two words       192.0.2.7:27960                         25000
 2     0 CNCT late            192.0.2.8:27960                         25000
"""
TEEWORLDS = "[server]: id=0 addr=192.0.2.1:8303 client=705 name='it's me' score=4 \n[server]: id=1 addr=x\n"


def test_source_players_have_userids_times_and_pings() -> None:
    assert read_players("source", L4D2) == (
        Listed(2, "Zoey", 54, 3723),
        Listed(3, "Coach", bot=True),
        Listed(4, 'a " b', 71, 10),
    )


def test_quake_players_have_slots_and_bots_are_marked() -> None:
    assert read_players("quake3", OPENARENA) == (
        Listed(0, "Neko", 0, bot=True),
        Listed(1, "two words", 48),
        Listed(2, "late"),
    )


def test_teeworlds_players_have_numbers() -> None:
    assert read_players("teeworlds", TEEWORLDS) == (Listed(0, "it's me"),)


def test_a_number_that_stands_there_twice_names_nobody() -> None:
    forged = L4D2 + '# 2 9 "Zoey" STEAM_1:0:9 00:01 1 0 active 1 192.0.2.9:1\n'
    assert [player.id for player in read_players("source", forged)] == [3, 4]


@pytest.mark.parametrize(
    ("marks", "hibernating", "reserved"),
    [
        ("(not hibernating) (unreserved)", False, False),
        ("(hibernating) (unreserved)", True, False),
        ("(not hibernating) (reserved 18600000a1b2c3d)", False, True),
        ("", None, None),
    ],
)
def test_a_source_server_says_whether_it_rests_and_is_held_by_a_lobby(
    marks: str, hibernating: bool | None, reserved: bool | None
) -> None:
    roll = read_roll("source", f"hostname: a (hibernating) (reserved)\nplayers : 0 humans, 0 bots (4 max) {marks}\n")
    assert (roll.hibernating, roll.reserved) == (hibernating, reserved)
    assert read_roll("quake3", OPENARENA).hibernating is None


NAMES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40)


@given(NAMES, st.integers(1, 99_999))
def test_a_source_player_keeps_their_own_number_whatever_they_are_called(name: str, userid: int) -> None:
    line = f'# {userid} 1 "{name}" STEAM_1:0:1 00:10 71 0 active 30000 192.0.2.2:27005'
    found = read_players("source", line)
    assert [player.id for player in found] == [userid]
    assert (found[0].ping, found[0].seconds, found[0].bot) == (71, 10, False)


@given(NAMES, st.integers(0, 63))
def test_a_quake_player_keeps_their_own_slot_whatever_they_are_called(name: str, slot: int) -> None:
    line = f"{slot:2d}     0   48 {name}x                        192.0.2.8:27960  25000"
    assert [player.id for player in read_players("quake3", line)] == [slot]


@pytest.mark.soak
def test_malformed_answers_are_read() -> None:
    def read(answer: bytes) -> None:
        text = answer.decode(errors="replace")
        for kind in ("source", "quake3", "teeworlds"):
            for player in read_players(kind, text):
                assert len(player.name) <= TEXT
                assert player.name.isprintable()

    try_all(read, cases(500, 2500), answer=damaged(L4D2.encode(), OPENARENA.encode(), TEEWORLDS.encode()))
