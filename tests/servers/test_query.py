"""Queries: what a game sends is hostile, so it is either a sound answer or a `QueryError`, never anything else."""

import asyncio
import bz2
import contextlib
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import strategies as st

from servers import games
from servers.protocols import a2s, quake3, teeworlds
from servers.protocols.answer import Player, QueryResult
from servers.protocols.wire import OUT_OF_BAND, TEXT, MalformedError
from servers.query import QueryError, query
from tests.generated import cases
from tests.servers.malformed import damaged, try_all

INFO = b"I\x11A server\0c1m1_hotel\0left4dead2\0Left 4 Dead 2\0\x26\x02\x03\x08\x01dl\0\x012.2.2.9\0"
PLAYERS = b"D\x02" + b"\0Zoey\0" + struct.pack("<lf", 7, 61.5) + b"\0\0" + struct.pack("<lf", 0, 0.0)
STATUS = (
    OUT_OF_BAND + b'statusResponse\n\\mapname\\oa_dm1\\sv_hostname\\^1Red\\sv_maxclients\\8\n3 0 "^2Bot"\n-1 45 "Al"\n'
)


@contextlib.asynccontextmanager
async def peer(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[int]:
    """A UDP server that sends `answer(request)` back; gives its port."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
            self.transport = transport

        def datagram_received(self, data: bytes, address: object) -> None:
            for packet in answer(data):
                self.transport.sendto(packet, address)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def asked(slug: str, answer: Callable[[bytes], list[bytes]], timeout: float = 2.0) -> QueryResult:
    async with peer(answer) as port:
        return await query(games.get(slug), "127.0.0.1", {"game": port}, timeout=timeout)


def source(request: bytes) -> list[bytes]:
    if not request.endswith(b"\1\2\3\4"):
        return [OUT_OF_BAND + b"A\1\2\3\4"]
    return [OUT_OF_BAND + (INFO if request[4:5] == b"T" else PLAYERS)]


async def test_a_source_server_is_asked_with_its_challenge() -> None:
    answer = await asked("left4dead2", source)
    assert (answer.name, answer.map, answer.players, answer.max_players, answer.bots) == (
        "A server",
        "c1m1_hotel",
        3,
        8,
        1,
    )
    assert [(player.name, player.score, player.seconds) for player in answer.list] == [("Zoey", 7, 61)]
    assert json.loads(json.dumps(answer.as_dict()))["ok"] is True


async def test_an_answer_in_parts_is_put_together_in_any_order() -> None:
    def split(request: bytes) -> list[bytes]:
        (whole,) = source(request)
        if whole[4:5] == b"A":
            return [whole]
        parts = [whole[start : start + 20] for start in range(0, len(whole), 20)]
        packets = [struct.pack("<lLBBH", -2, 9, len(parts), i, 20) + part for i, part in enumerate(parts)]
        return [packets[-1], packets[-1], *packets[:-1]]

    assert (await asked("left4dead2", split)).list[0].name == "Zoey"


async def test_a_game_that_does_not_tell_its_players_still_answers() -> None:
    def silent(request: bytes) -> list[bytes]:
        return source(request) if request[4:5] == b"T" else []

    def strange(request: bytes) -> list[bytes]:
        return source(request) if request[4:5] == b"T" else [b"?"]

    for answers in (silent, strange):
        answer = await asked("left4dead2", answers, timeout=0.5)
        assert (answer.map, answer.players, answer.list) == ("c1m1_hotel", 3, ())


async def test_a_game_that_answers_everything_twice_is_understood() -> None:
    answer = await asked("left4dead2", lambda request: source(request) * 2)
    assert (answer.map, [player.name for player in answer.list]) == ("c1m1_hotel", ["Zoey"])
    assert (await asked("openarena", lambda request: [STATUS] * 2)).map == "oa_dm1"

    def teeworlds_twice(request: bytes) -> list[bytes]:
        is_first = len(request) > 500
        return [request[:3] + request[8:12] + b"\5" + bytes(4) if is_first else TEEWORLDS] * 2

    assert (await asked("teeworlds", teeworlds_twice)).map == "dm1"


async def test_a_compressed_answer_is_unpacked_and_checked_and_never_larger_than_it_may_be() -> None:
    def compressed(whole: bytes, size: int, checksum: int) -> list[bytes]:
        packed = struct.pack("<lL", size, checksum) + bz2.compress(whole)
        parts = [packed[start : start + 30] for start in range(0, len(packed), 30)]
        return [struct.pack("<lLBBH", -2, 9 | 1 << 31, len(parts), i, 30) + part for i, part in enumerate(parts)]

    def answers(request: bytes) -> list[bytes]:
        (whole,) = source(request)
        return [whole] if whole[4:5] == b"A" else compressed(whole, len(whole), zlib.crc32(whole))

    assert (await asked("left4dead2", answers)).list[0].name == "Zoey"
    bomb = bytes(50 << 20)
    for size, checksum in ((len(bomb), zlib.crc32(bomb)), (1000, zlib.crc32(bomb)), (1000, 0)):
        packets = compressed(bomb, size, checksum)
        with pytest.raises(QueryError, match="not understood"):
            await asked("left4dead2", lambda request, packets=packets: packets)


async def test_late_parts_of_another_answer_are_in_nobodys_way() -> None:
    def late(request: bytes) -> list[bytes]:
        return [struct.pack("<lLBBH", -2, 5, 2, 0, 20) + b"late", *source(request)]

    def split(request: bytes) -> list[bytes]:
        first, *rest = late(request)
        if rest[0][4:5] == b"A":
            return [first, *rest]
        parts = [rest[0][start : start + 20] for start in range(0, len(rest[0]), 20)]
        return [first, *(struct.pack("<lLBBH", -2, 9, len(parts), i, 20) + part for i, part in enumerate(parts))]

    assert (await asked("left4dead2", split)).list[0].name == "Zoey"


async def test_quake_3_counts_who_has_no_ping_as_a_bot_and_strips_colours() -> None:
    answer = await asked("openarena", lambda request: [STATUS])
    assert (answer.name, answer.players, answer.bots, answer.max_players) == ("Red", 2, 1, 8)
    assert [(player.name, player.score, player.ping) for player in answer.list] == [("Bot", 3, 0), ("Al", -1, 45)]


@pytest.mark.parametrize("slug", ["left4dead2", "openarena", "teeworlds"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda request: [b"?"], "not understood"),
        (lambda request: [b"\xff" * 1400], "not understood"),
        (lambda request: [], "did not answer within 0.3 seconds"),
        (lambda request: [OUT_OF_BAND + b"A" + b"\0" * 4] * 9, "not understood"),
        (lambda request: [struct.pack("<lLBBH", -2, 1, 99, i, 1) + bytes(1300) for i in range(99)], "unders|within"),
    ],
    ids=["short", "noise", "silence", "challenges", "flood"],
)  # fmt: skip
async def test_a_strange_answer_is_an_error_in_a_sentence(slug: str, answer, why: str) -> None:
    with pytest.raises(QueryError, match=why):
        await asked(slug, answer, timeout=0.3)


async def test_nobody_listening_is_told_at_once() -> None:
    async with peer(lambda request: []) as port:
        pass
    started = time.monotonic()
    with pytest.raises(QueryError, match="cannot be reached"):
        await query(games.get("openarena"), "127.0.0.1", {"game": port}, timeout=30)
    assert time.monotonic() - started < 20


async def test_a_flood_of_packets_does_not_grow_memory_or_stop_others() -> None:
    def flood(request: bytes) -> list[bytes]:
        return [b"\xfe\xff\xff\xff" + struct.pack("<LBBH", 1, 2, 7, 1) + b"x" * 1000] * 2000

    slow = asyncio.create_task(asked("left4dead2", flood, timeout=1.0))
    assert (await asked("openarena", lambda request: [STATUS])).map == "oa_dm1"
    with pytest.raises(QueryError):
        await slow


async def test_a_port_or_host_that_is_not_there_is_an_error_too() -> None:
    with pytest.raises(QueryError, match="no port named game"):
        await query(games.get("openarena"), "127.0.0.1", {})
    with pytest.raises(QueryError, match="cannot be reached"):
        await query(games.get("openarena"), "no-such-host.invalid", {"game": 1}, timeout=20)


READERS = [a2s.read_info, a2s.read_players, quake3.read_status, teeworlds.read_info]
TEEWORLDS = b"\x21" + bytes(8) + OUT_OF_BAND + b"inf3\0" + b"0.7\0name\0host\0dm1\0DM\0" + b"\1\1\1\1\1\x08me\0\0\0\5\0"
GOOD = [INFO, PLAYERS, STATUS, TEEWORLDS]


@pytest.mark.soak
def test_thousands_of_malformed_packets_break_no_reader() -> None:
    def read(packet: bytes) -> None:
        for reader in READERS:
            with contextlib.suppress(MalformedError):
                sound(reader(packet))

    for reader, packet in zip(READERS, GOOD, strict=True):
        sound(reader(packet))
    try_all(read, packet=damaged(*GOOD))


def sound(answer: QueryResult | tuple[Player, ...]) -> None:
    players = answer.list if isinstance(answer, QueryResult) else answer
    if isinstance(answer, QueryResult):
        json.dumps(answer.as_dict(), allow_nan=False).encode()
        assert answer.players >= 0 and 0 <= answer.max_players <= 9999
    assert len(players) <= 255
    assert all(len(player.name) <= TEXT and (player.name.isprintable() or not player.name) for player in players)


@pytest.mark.soak
def test_malformed_answers_end_each_query_at_once() -> None:
    """Over the wire: several packets to each request, the last of which ends every exchange."""
    sent: list[bytes] = []
    parts = [struct.pack("<lLBBH", -2, 9, 2, i, 20) + INFO[i * 30 : i * 30 + 30] for i in range(2)]
    wire = [OUT_OF_BAND + INFO, OUT_OF_BAND + PLAYERS, OUT_OF_BAND + b"A\1\2\3\4", STATUS, TEEWORLDS, *parts]

    def answer(request: bytes) -> list[bytes]:
        token = [request[:3] + request[8:12] + b"\5" + bytes(4)] if len(request) > 500 else []
        return [*token, *sent, b"?"]

    def ask(slug: str, packets: list[bytes]) -> None:
        sent[:], reason = packets, ""
        try:
            sound(runner.run(query(games.get(slug), "127.0.0.1", {"game": port}, timeout=30)))
        except QueryError as error:
            reason = str(error)
        assert "did not answer" not in reason

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        port = runner.run(stack.enter_async_context(peer(answer)))
        packets = st.lists(damaged(*wire, edits=1), max_size=3)
        try_all(ask, cases(500, 2000), slug=st.sampled_from(["left4dead2", "openarena", "teeworlds"]), packets=packets)
        runner.run(stack.aclose())
