"""Remote consoles: long answers, wrong passwords, silence and nonsense, and a password that shows nowhere."""

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers import games, rcon
from servers.protocols import consoles
from servers.protocols.wire import CUT, LARGEST, OUT_OF_BAND
from tests.games_cache import SECRET, running, send
from tests.generated import cases
from tests.servers.malformed import damaged, try_all
from tests.stack import wait_for

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def packet(number: int, kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<lll", 10 + len(body), number, kind) + body + b"\0\0"


GOOD = packet(1, 0) + packet(1, 2) + packet(2, 0, b"hostname: a\n") + packet(2, 0, b"map: b\n") + packet(3, 0)
GOOD_ECON = b"Enter password:\nAuthentication successful. External console access granted.\n[server]: id=0 addr=x\n"


def answers(running_game) -> bool:  # type: ignore[no-untyped-def]
    try:
        return bool(send(running_game, "status"))
    except rcon.RconError:
        return False


@contextlib.asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[dict[str, int]]:
    """A TCP server that talks as `serve` does; gives the ports of a game whose console it is."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield {"game": port, "console": port}


@pytest.fixture(scope="module")
def practice():
    with running("practice", simulated_players=4) as started:
        wait_for(lambda: answers(started), seconds=30, what="the practice game's console")
        yield started


def test_an_answer_of_several_packets_arrives_whole(practice) -> None:
    answer = send(practice, "cvarlist")
    assert len(answer) > 3 * 4096
    assert answer.startswith("cvar list\n") and answer.endswith(" total convars/concommands\n")


def test_the_practice_game_answers_as_a_source_server(practice) -> None:
    assert "map     : c1m1_hotel" in send(practice, "status")
    assert send(practice, "changelevel c5m1_waterfront") == "\n"
    assert "map     : c5m1_waterfront" in send(practice, "status")
    assert "not found" in send(practice, "changelevel ../../etc")
    assert send(practice, "sv_tags") == '"sv_tags" = "practice,left4me"\n'
    assert SECRET not in send(practice, "rcon_password") + send(practice, "cvarlist")
    assert "Unknown command" in send(practice, "rm -rf /")
    assert send(practice, "say hello") == "\n"
    assert "Console: hello" in practice.output


def test_a_player_is_kicked_by_userid(practice) -> None:
    send(practice, "demo_leaving 0")
    wait_for(lambda: "[demo]" in send(practice, "users"), seconds=30, what="somebody playing")
    userid = send(practice, "users").splitlines()[1].split(":")[0]
    assert send(practice, f"kickid {userid} be nice").startswith("Kicked [demo]")
    assert "be nice" in practice.output


def test_a_wrong_password_is_its_own_error_and_shows_nowhere(practice, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(rcon.RconDenied) as caught:
        send(practice, "status", secret="guessed-password")
    shown = [str(caught.value), repr(caught.value.__context__), caplog.text, practice.output]
    assert not any("guessed-password" in text for text in shown)


@pytest.mark.soak
def test_the_practice_game_survives_malformed_packets(practice) -> None:
    @settings(max_examples=cases(60, 600), deadline=None)
    @given(
        st.binary(max_size=300),
        st.sampled_from([b"", b"\xff" * 4, b"\xff\xff\xff\xffT", struct.pack("<lll", 12, 1, 3)]),
    )
    def throw(noise: bytes, head: bytes) -> None:
        async def both() -> None:
            loop = asyncio.get_running_loop()
            udp, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=("127.0.0.1", practice.ports["game"])
            )
            udp.sendto(head + noise)
            udp.close()
            _, tcp = await asyncio.open_connection("127.0.0.1", practice.ports["game"])
            tcp.write(head + noise)
            tcp.close()

        asyncio.run(both())

    throw()
    # It holds whoever gave a wrong password for 0.2 s and has sixteen places: the last of the noise may fill them.
    wait_for(lambda: answers(practice), seconds=30, what="the console answering after the noise")
    assert "hostname" in send(practice, "status")
    assert "Traceback" not in practice.output


async def test_a_silent_console_ends_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with peer(silent) as ports:
        for slug in ("practice", "teeworlds"):
            with pytest.raises(rcon.RconError, match=r"did not answer within 0\.2 seconds\. Try again"):
                await rcon.command(games.get(slug), "127.0.0.1", ports, SECRET, "status", timeout=0.2)


@pytest.mark.parametrize("slug", ["practice", "teeworlds"])
@pytest.mark.parametrize(
    "sent", [b"", b"\xff" * 40, b"\0" * 40, struct.pack("<l", 2**31 - 1), b"x" * 200_000, b"Enter password:\n"]
)
async def test_nonsense_from_the_game_is_an_error_in_a_sentence(slug: str, sent: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    async with peer(talk) as ports:
        with pytest.raises(rcon.RconError) as caught:
            await rcon.command(games.get(slug), "127.0.0.1", ports, SECRET, "status", timeout=2)
        assert str(caught.value).endswith(".")
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("line", [b"one line of many\n", b"x" * 99], ids=["lines", "no line ends"])
async def test_an_endless_answer_is_cut_at_64_kib_at_a_lines_end_and_says_so(line: bytes) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(packet(1, 2))
        while True:
            writer.write(packet(2, 0, line * 40))
            await writer.drain()

    async with peer(endless) as ports:
        answer = await rcon.command(games.get("practice"), "127.0.0.1", ports, SECRET, "status")
        *lines, notice = answer.split("\n")
        assert notice == CUT and 65_000 < len(answer) <= LARGEST
        assert set(lines) == {"one line of many"} or set("".join(lines)) == {"x"}


async def test_an_endless_answer_of_a_console_in_lines_is_cut_too() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Enter password:\nAuthentication successful\n")
        while True:
            writer.write(b"one line of many, and it is no short one at all\n" * 40)
            await writer.drain()

    async with peer(endless) as ports:
        answer = await rcon.command(games.get("teeworlds"), "127.0.0.1", ports, SECRET, "status")
        assert answer.endswith("at all\n" + CUT) and len(answer) <= LARGEST


class Ticks:
    """How often the event loop comes round, which a reader that never yields stops."""

    async def __aenter__(self) -> "Ticks":
        self.count = 0
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1


@pytest.mark.parametrize("flood", [packet(9, 0), packet(2, 0), packet(1, 0) * 3], ids=["others", "empty", "before"])
async def test_thirty_commands_to_a_game_that_floods_them_with_empty_packets_end_by_themselves(flood: bytes) -> None:
    """By the number of packets, long before their time; and the event loop goes on meanwhile."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"" if flood[4] == 1 else packet(1, 2))
        while True:
            writer.write(flood * 4000)
            await writer.drain()

    async with peer(talk) as ports, Ticks() as ticks:
        commands = [rcon.command(games.get("practice"), "127.0.0.1", ports, SECRET, "x", timeout=60) for _ in range(30)]
        ended = await asyncio.gather(*commands, return_exceptions=True)
        assert {str(one) for one in ended} == {
            "The game's answer was not understood: the console does not stop talking. Try again."
        }
        assert ticks.count > consoles._PACKETS  # one reader's packets alone, so none is read without a turn for others


async def test_a_flood_does_not_outlive_the_time_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "_PACKETS", 10**9)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(packet(1, 2))
        while True:
            writer.write(packet(2, 0) * 4000)
            await writer.drain()

    async with peer(talk) as ports:
        with pytest.raises(rcon.RconError, match="did not answer within"):
            await rcon.command(games.get("practice"), "127.0.0.1", ports, SECRET, "status", timeout=0.3)


async def test_a_flood_of_datagrams_ends_a_command() -> None:
    class Flood(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
            self.transport = transport

        def datagram_received(self, data: bytes, address: object) -> None:
            self.transport.sendto(OUT_OF_BAND + b"print\n", address)
            asyncio.get_running_loop().call_soon(self.datagram_received, data, address)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Flood, local_addr=("127.0.0.1", 0))
    ports = {"game": transport.get_extra_info("sockname")[1]}
    with pytest.raises(rcon.RconError, match="does not stop talking"):
        await rcon.command(games.get("openarena"), "127.0.0.1", ports, SECRET, "status", timeout=60)
    transport.close()


async def test_nobody_listening_is_told() -> None:
    async with peer(lambda reader, writer: asyncio.sleep(0)) as ports:
        pass
    with pytest.raises(rcon.RconError, match="cannot be reached"):
        await rcon.command(games.get("practice"), "127.0.0.1", ports, SECRET, "status")


async def test_a_command_of_two_lines_is_not_sent() -> None:
    with pytest.raises(rcon.RconError, match="one line"):
        await rcon.command(games.get("practice"), "127.0.0.1", {"game": 1}, SECRET, "say hi\nquit")


@pytest.mark.soak
def test_thousands_of_malformed_answers_end_each_command_at_once() -> None:
    """Over the wire: the game says all it has to say as soon as somebody connects, and no more."""
    sent = b""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.write_eof()
        await reader.read()

    def ask(slug: str, data: bytes) -> None:
        nonlocal sent
        sent, said, problem = data, "", ""
        try:
            said = runner.run(rcon.command(games.get(slug), "127.0.0.1", ports, SECRET, "status", timeout=30))
        except rcon.RconError as error:
            problem = str(error)
        assert "did not answer" not in problem and SECRET not in problem and len(said) <= 64 * 1024

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        ports = runner.run(stack.enter_async_context(peer(talk)))
        ask("practice", GOOD)
        try_all(ask, slug=st.sampled_from(["practice", "teeworlds"]), data=damaged(GOOD, GOOD_ECON))
        runner.run(stack.aclose())
