"""Every parser of hostile text takes time that grows with its input and no faster, and none is left out."""

import ast
from pathlib import Path

import pytest

from servers.protocols import status
from servers.provenance import comparing
from tests.generated import cases
from tests.parsers import GROWTH, MIB, PARSERS, Parser, climb, slowest
from tests.stack import BASE

NAMES = {parser.name for parser in PARSERS}
ADMINS, OURS, BOUNDED = "an administrator's text", "our own text", "a text of bounded length"

# How often each module uses `re` or `difflib`: and which of the parsers above does so, or whose text it is.
KNOWN: dict[str, tuple[int, tuple[str, ...] | str]] = {
    "jobs/streams.py": (4, ("streams.clean",)),
    "portal/admission.py": (1, BOUNDED),
    "portal/log_secrets.py": (1, BOUNDED),
    "portal/models.py": (1, BOUNDED),
    "portal/postgres.py": (1, OURS),
    "portal/postgres_place.py": (1, OURS),
    "servers/api.py": (1, BOUNDED),
    "servers/doctor/machine.py": (1, OURS),
    "servers/doctor/rights.py": (1, OURS),
    "servers/doctor/units.py": (2, OURS),
    "servers/games/base.py": (1, ADMINS),
    "servers/games/controls.py": (1, ("console.is_safe",)),
    "servers/games/mods.py": (2, ("plugins",)),
    "servers/games/placeholders.py": (1, ADMINS),
    "servers/games/practice/world.py": (1, ("practice.words",)),
    "servers/games/syntax.py": (1, ("settings.written",)),
    "servers/games/validate.py": (2, ADMINS),
    "servers/games/values.py": (3, ("settings",)),
    "servers/ingame.py": (3, ("ingame.block",)),
    "servers/installers/debian.py": (3, ("debian.apt",)),
    "servers/installers/steam_output.py": (3, ("steam.output",)),
    "servers/installers/steamcmd.py": (3, ("steam.builds",)),
    "servers/installing.py": (1, BOUNDED),
    "servers/keyvalues.py": (1, ("keyvalues.parse", "vpk.missions")),
    "servers/layer_forms.py": (1, ("workshop.ids",)),
    "servers/layers/addon_order.py": (1, ("addons.names",)),
    "servers/layers/stack.py": (1, BOUNDED),
    "servers/models.py": (1, BOUNDED),
    "servers/own_files.py": (4, ("own_files", "own_files.problems")),
    "servers/protocols/consoles.py": (1, ("econ.about_us",)),
    "servers/protocols/cvars.py": (2, ("cvars.source", "cvars.teeworlds")),
    "servers/protocols/quake3.py": (3, ("quake3.status", "console.plain")),
    "servers/protocols/status.py": (5, ("status.source", "status.quake3", "status.teeworlds")),
    "servers/provenance/comparing.py": (1, ("diff",)),
    "servers/runtime/bus.py": (1, OURS),
    "servers/runtime/files.py": (1, OURS),
    "servers/services/creation.py": (2, ("server.name",)),
    "servers/services/uploads.py": (1, BOUNDED),
    "servers/steam_ids.py": (3, ("steam_ids",)),
}


@pytest.mark.soak
@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_a_parser_takes_linear_time_up_to_one_mebibyte(parser: Parser) -> None:
    """In the gate all of its inputs up to 16 KiB, and the slowest of them up to 1 MiB."""
    found = slowest(parser, cases(16 << 10, MIB))
    assert found.growth <= GROWTH, f"four times {found.unit!r} take {found.growth:.1f} times as long"
    found = climb(parser, found.unit, MIB)
    assert found.growth <= GROWTH, f"four times {found.unit!r} take {found.growth:.1f} times as long"


def test_a_parser_that_is_quadratic_is_found_out() -> None:
    found = slowest(Parser("quadratic", lambda text: sum(1 for _ in range((len(text) >> 8) ** 2))), MIB)
    assert found.growth > GROWTH


def test_no_use_of_a_regex_or_a_diff_is_missing_here() -> None:
    """Whoever adds one says whose text it reads: of hostile text, it needs a line in `tests/parsers.py`."""
    found = {}
    for package in ("jobs", "portal", "servers"):
        for path in sorted((BASE / package).rglob("*.py")):
            if "migrations" not in path.parts and (count := uses(path)):
                found[str(path.relative_to(BASE))] = count
    assert found == {name: count for name, (count, _) in KNOWN.items()}
    named = {name for _, names in KNOWN.values() if isinstance(names, tuple) for name in names}
    assert named <= NAMES


def test_no_protocol_is_missing_here() -> None:
    modules = {path.stem for path in (BASE / "servers/protocols").glob("*.py")} - {"__init__", "answer"}
    first = {name.partition(".")[0] for name in NAMES}
    assert modules - first == {"consoles"} and {"rcon", "econ"} <= first  # `consoles` has these two


def uses(path: Path) -> int:
    """Calls of `re`, of validators with a pattern, and classes of `difflib` that are called or derived from."""
    count = 0
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            count += is_re and node.func.attr != "escape"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            count += node.func.id in ("RegexValidator", "get_close_matches", "SequenceMatcher")
        elif isinstance(node, ast.ClassDef):
            count += any("SequenceMatcher" in ast.unparse(base) for base in node.bases)
    return count


def test_a_line_of_a_list_of_players_costs_no_more_than_a_short_one_may() -> None:
    """What `.*` and its neighbours do to one line is not linear, so lines are cut before."""
    longest = '#1 "" ' + "a" * 10**6 + '"'
    short = longest[: status.LONGEST_LINE]
    assert status.read_players("source", longest) == status.read_players("source", short)


def test_a_diff_of_lines_that_match_everywhere_is_given_up_before_it_takes_long() -> None:
    """Every second line differs, and each other line is at twenty places: each match is searched again among all."""
    one, other = ("\n".join(f"{n % 190 // 2 * 2}" if n % 2 else f"{who}{n}" for n in range(1990)) for who in "ab")
    assert comparing.differences(one, other) is None
    few = ("\n".join(f"{n}" if n % 2 else f"{who}{n}" for n in range(1990)) for who in "ab")
    assert len(comparing.differences(*few) or ()) > 1990
