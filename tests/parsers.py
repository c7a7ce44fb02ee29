"""Every parser of hostile text, with inputs made to slow it down, and how its time grows with their size.

`tests/servers/test_linear_time.py` holds each to linear time and sees that none is missing here; `tests.bench.parsers`
prints their times.
"""

import asyncio
import bz2
import gc
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

from jobs import process, streams
from jobs.registry import JobError
from servers import games, ingame, keyvalues, layer_forms, own_files, steam_ids, vpk
from servers.errors import ServerError
from servers.games.controls import Console
from servers.games.practice import world
from servers.games.syntax import RefusedError, Syntax, write
from servers.installers import debian, steam_output, steamcmd
from servers.layers import addon_order, lint, writer
from servers.protocols import a2s, consoles, cvars, quake3, status, teeworlds, wire
from servers.provenance import comparing
from servers.runtime import console
from servers.services import creation

MIB = 1 << 20
FLOOR = 0.003  # seconds below which a time says nothing
GROWTH = 6.0  # the most that four times the input may cost
TRIES = 6


class Parser(NamedTuple):
    """`read` takes text of any size. `units`: what is repeated to make it slow, beside `UNITS`; `head`, `tail`: what
    stands before and after."""

    name: str
    read: Callable[[str], object]
    units: tuple[str, ...] = ()
    head: str = ""
    tail: str = ""


# Marks that begin something, without their ends, and with them; each character a line; nothing that a database holds.
UNITS = (
    "a", " ", "\n", "\r", "\t", "\0", '"', '" ', '"\n', '\\"', "\\", "'", "{", "}", "[", "(", "((", "<", "//", "#", ";",
    "^", "%", "=", "1", "1 ", "-1 ", ".", "./", "../", "a/", "\x1b", "\x1b[", "\x1b]", "\x1b[1;", "\x90", "\x9b",
    "\x9b1", "\x9d;", "\x1bPa", "\x9c", "\x07", "é", "\ufffd", "\udcff", "\U0001f600",
)  # fmt: skip


def inputs(parser: Parser) -> dict[str, Callable[[int], str]]:
    """By the repeated unit, a function that makes so many characters."""
    return {unit: partial(_repeated, parser, unit) for unit in (*UNITS, *parser.units)}


def _repeated(parser: Parser, unit: str, size: int) -> str:
    return (parser.head + unit * (size // len(unit) + 1))[: size - len(parser.tail)] + parser.tail


def _quiet(read: Callable[[Any], object], *refusals: type[Exception]) -> Callable[[Any], object]:
    """The reader, whose refusals are answers too."""

    def quiet(value: Any) -> object:
        with suppress(*refusals):
            return read(value)
        return None

    return quiet


def _bytes(read: Callable[[bytes], object], *refusals: type[Exception]) -> Callable[[str], object]:
    quiet = _quiet(read, *refusals)
    return lambda text: quiet(text.encode(errors="surrogateescape"))


def _packet(head: bytes, read: Callable[[bytes], object]) -> Callable[[str], object]:
    return _bytes(lambda data: read(head + data), wire.MalformedError)


def _all(found: Iterator[Any]) -> None:
    for _ in found:
        pass


def _streamed(begin: Callable[[asyncio.StreamReader], Callable[[], Any]]) -> Callable[[str], object]:
    """A reader of a connection, given all of it at once, until it has had enough."""

    async def go(data: bytes) -> None:
        stream = asyncio.StreamReader(limit=wire.LARGEST)
        stream.feed_data(data)
        stream.feed_eof()
        read = begin(stream)
        while True:
            await read()

    return _bytes(lambda data: asyncio.run(go(data)), wire.MalformedError, EOFError)


def _unpacked(data: bytes) -> bytes:
    return a2s._unpack(struct.pack("<lL", len(data), zlib.crc32(data)) + bz2.compress(data, 1))


def _vpk(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(struct.pack("<III", vpk.SIGNATURE, 1, len(data)) + data)
        file.flush()
        vpk.read_directory(Path(file.name))


def _missions(data: bytes) -> None:
    vpk._campaign(vpk.Entry("missions/a.txt", len(data)), data[: vpk.MISSION_BYTES])


def _console(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, console.segment_name(0)).write_bytes(data)
        cursor, before = "", None
        while cursor != before:
            before = cursor
            _, cursor = console.read(Path(folder), cursor, 10_000)


def _program(data: bytes) -> None:
    lines = process.Lines(lambda line: None)
    for start in range(0, len(data), 1 << 16):
        lines.feed(data[start : start + (1 << 16)])


class _Run:
    """Of a job's run what readers of output use."""

    def log(self, text: str) -> None:
        pass

    def progress(self, percent: float) -> None:
        pass


def _steam(text: str) -> None:
    output = steam_output.Output(_Run(), "secret", begin=0, share=100)  # type: ignore[arg-type]
    for line in text.split("\n"):
        output.line(line)
    output.is_complete(550)
    output.failure()


def _debian(text: str) -> None:
    for pattern in (debian._URI, debian._MISSING, debian._INSTALLED):
        _all(pattern.finditer(text))


def _differences(text: str) -> None:
    comparing.differences(text, text[1:] + "x")
    comparing.differences(text.replace("a", "b", 5), text)


def _by_hand(text: str) -> None:
    game = games.get("left4dead2")
    _all(own_files._commands(text, "source"))
    _all(own_files._reserved_words(game, "left4dead2/cfg/server.cfg", text, "source"))


def _plugins(text: str) -> None:
    for known in games.get("left4dead2").plugins:
        known.read(text)


def _settings(text: str) -> None:
    for slug in ("left4dead2", "openarena", "teeworlds"):
        for setting in games.get(slug).settings:
            with suppress(ValueError):
                setting.clean(text)


def _written(text: str) -> None:
    for syntax in Syntax:
        with suppress(RefusedError):
            write(text, syntax)


CONSOLE = Console(protocol="quake3-rcon", secret="a", colours="quake", safe=("status", "dumpuser *"))
ADMINS = games.get("left4dead2").admins
assert ADMINS
BEGIN, END = (f"{ADMINS.comment} {mark}" for mark in (ingame.BEGIN, ingame.END))
STATUS = wire.OUT_OF_BAND + b"statusResponse\n\\mapname\\a\\"
IDS = "https://steamcommunity.com/a?id=1&"

PARSERS = (
    Parser("streams.clean", streams.clean, ("\x1b[0m", "a\r", "\x90\x07", "\x1b]0;", "\x9d\x1b", "\u202e")),
    Parser("process.lines", _bytes(_program)),
    Parser("runtime.console", _bytes(_console)),
    Parser("console.plain", CONSOLE.plain, ("^X", "^1", "^Xabcde")),
    Parser("console.is_safe", CONSOLE.is_safe, ("status ", "*")),
    Parser("keyvalues.decode", _bytes(keyvalues.decode), ("\xff",), head="\xff\xfe"),
    Parser("keyvalues.parse", keyvalues.parse, ('"a"{', '"a" "b"', "[$", "a{", "}{", '"\\'), head='"'),
    Parser("vpk.directory", _bytes(_vpk, vpk.VpkError), ("a\0b\0c\0", "\0\0", " \0 \0a\0")),
    Parser("vpk.missions", _bytes(_missions),
           ('"a"{', '"mission"{"modes"{"coop"{"1"{"map" "a"}', '"\\'), '"mission"{'),
    Parser("ingame.block", _bytes(lambda data: ingame.put_block(data, ADMINS, ())), (f"{BEGIN}\n", f"{END}\n", BEGIN)),
    Parser("a2s.info", _packet(b"I\x11", a2s.read_info)),
    Parser("a2s.players", _packet(b"D\xff", a2s.read_players), ("\0a\0" + "1" * 8,)),
    Parser("a2s.compressed", _bytes(_unpacked, wire.MalformedError)),
    Parser("quake3.status", _packet(STATUS, quake3.read_status), ("\\a", '1 1 "a"\n', '1 1 "')),
    Parser("teeworlds.info", _packet(b"\x21" + bytes(8) + teeworlds._INFO, teeworlds.read_info), ("\x80", "a\0")),
    Parser("rcon.packets", _streamed(lambda stream: consoles._Packets(stream).next), ("\n\0\0\0\2" + "\0" * 9,)),
    Parser("econ.lines", _streamed(lambda stream: partial(consoles._until, stream, "Enter password:")), ("Enter",)),
    Parser("econ.about_us", lambda text: consoles._ABOUT_US.search(text), ("[econ]: cid=1", "[server]: cid=")),
    Parser("wire.cut", wire.cut, ("a\n",)),
    Parser("cvars.source", lambda text: cvars.read_value("source-rcon", "a", text), ('"a" ', '"a"="', '"a" = \n')),
    Parser("cvars.teeworlds", lambda text: cvars.read_value("teeworlds-econ", "a", text), ("Value: ", "Value:")),
    Parser("status.source", lambda text: status.read_roll("source", text),
           ('# 1 1 "', '" ', '#1 "a" a a\n', "players : (hibernating) (reserved ", "players : (", "players\n")),
    Parser("status.quake3", lambda text: status.read_roll("quake3", text), ("1 1 1 a ", "1 1 1 a a 1 1\n")),
    Parser("status.teeworlds", lambda text: status.read_roll("teeworlds", text),
           ("id=1 addr=a client=a name='", "id=1 addr=", "' score=1 ")),
    Parser("plugins", _plugins, (" (", " by ", "[1] a (a)", '1 "', " (a) by")),
    Parser("steam.output", _steam,
           ("Update state (0x1) a, progress: ", "Update state (0x", "Success! App '550' ", "state is 0x")),
    Parser("steam.builds", lambda text: steamcmd.read_build("public", text),
           ('"branches" {', '"public" {', '"public"{"buildid" ', '"buildid" "1', "}")),
    Parser("debian.apt", _debian, ("'a' a_", "'a' a_a.deb ", "_a.deb", "E: Unable to locate package ", " of '")),
    Parser("diff", _differences, ("a\nb\n", "a\n", "a\n\n", "b\na\nc\n")),
    Parser("lint", lambda text: next(lint.problems(text), ""), ("a\n",)),
    Parser("own_files", _by_hand, ('"a" ', "rcon_password ", "set a b;", "/ /", ' "', "//\n"), head="a "),
    Parser("own_files.problems", lambda text: own_files.problems(games.get("left4dead2"), "cfg/a.cfg", text)),
    Parser("workshop.ids", _quiet(layer_forms.workshop_ids, ValidationError), (IDS, "?id=1&", "1\n"), IDS, " x"),
    Parser("steam_ids", _quiet(steam_ids.parse, ValueError), ("https://", "/id/")),
    Parser("archive.names", _quiet(writer.checked, writer.Refused), ("./", ".wh.")),
    Parser("archive.shown", writer.shown),
    Parser("addons.names", addon_order._PLAIN_NAME.fullmatch, (".vpk", "vpk.")),
    Parser("settings", _settings),
    Parser("settings.written", _written),
    Parser("server.name", _quiet(creation.check_name, ServerError, JobError)),
    Parser("practice.words", world.words, ('"a" ',)),
)  # fmt: skip


def seconds(read: Callable[[str], object], text: str) -> float:
    """Processor time of one call."""
    gc.disable()
    try:
        began = time.process_time()
        read(text)
        return time.process_time() - began
    finally:
        gc.enable()


def growth(read: Callable[[str], object], make: Callable[[int], str], size: int) -> float:
    """How many times longer four times the input takes; 1 where both are too short to be told. The least of several
    measurements where it is much, since what else the machine does only adds to it."""
    least = float("inf")
    for _ in range(TRIES):
        small, large = seconds(read, make(size // 4)), seconds(read, make(size))
        least = min(least, large / max(small, FLOOR) if large > FLOOR else 1.0)
        if least <= GROWTH:
            break
    return least


class Measured(NamedTuple):
    """Of the input made of `unit`: `growth` from a quarter of the size on, and seconds at that size."""

    growth: float
    unit: str
    seconds: float


def climb(parser: Parser, unit: str, size: int) -> Measured:
    """One input up to `size`, in steps, so that what grows too fast is found out before it takes for ever."""
    make, step, grown = inputs(parser)[unit], 1 << 14, 1.0
    while step <= size and grown <= GROWTH:
        grown = growth(parser.read, make, step)
        step *= 4
    return Measured(grown, unit, seconds(parser.read, make(step // 4)))


def slowest(parser: Parser, size: int) -> Measured:
    """Of all inputs up to `size`: the first that grows too fast, else the one that takes longest."""
    found = Measured(0.0, "", -1.0)
    for unit in inputs(parser):
        one = climb(parser, unit, size)
        if one.growth > GROWTH:
            return one
        found = max(found, one, key=lambda measured: measured.seconds)
    return found
