"""Strings and JSON values that have broken programs before: 200 of each, the same in every run of one seed."""

import string
from random import Random
from typing import Any

from tests.generated import dice

COUNT = 200
_LONG = 1 << 20
TEXTS = [
    "", " ", "\t", "\n", "\r\n", "\r", "\0", "a\0b",
    "\0\0", "\x01", "\x1b[31m", "\x7f", "\x85", "\x90", "\u2028", "\u2029",
    "\ufeff", "\ufffd", "\uffff", "\u200b", "a\u200bb",
    "\u200d", "\u202eabc", "\u2066abc", "\u0301", "e\u0301" * 50,
    "é", "ß", "İ", "ı", "ﬀ", "Ω", "ゲーム", "👩‍👩‍👧‍👦", "𝟙𝟚𝟛",
    "١٢٣", "²", "½", "Ⅷ", "一二三", "\U0010ffff", "\ud800", "\udfff", "\udc80",
    "\ud83d", "a\ud800b", "null", "None", "undefined", "true",
    "false", "NaN", "nan", "Infinity", "-Infinity", "inf", "-0",
    "0", "-1", "1", "00", "01", "1.0", "1.5", "1e3",
    "1e400", "0x10", "1_000", "+1", " 1", "1 ", "9" * 9, "9" * 18, "9" * 19,
    "9" * 20, "9" * 400, "9" * 5000, "2147483647", "2147483648", "-2147483649", "9223372036854775807",
    "9223372036854775808", "-9223372036854775809", "32768", "65536", "'", '"',
    "''", '"";', "`", "\\", "\\\\", "\\0",
    "\\x00", "\\u0000", "%", "%00", "%s", "%n%n%n", "%(x)s",
    "{}", "{0}", "{x}", "{{", "{{ x }}", "{% debug %}", "${x}",
    "$(id)", "`id`", "; rm -rf /", "| cat", "&& true",
    "<script>alert(1)</script>", "<!--", "]]>", "&amp;", "&#0;",
    "' OR 1=1 --", "'; DROP TABLE portal_user; --", "1; SELECT pg_sleep(9)", "%' ESCAPE '",
    "_%_", "\\%", "..", "../",
    "../../etc/passwd", "/etc/passwd", "//", "./", "a/../b", "a//b", "C:\\x",
    "~", "*", "?", "[", "(", ")", "(((((", "a" * 31,
    "a" * 33, "a" * 64, "a" * 256, "a" * 1001,
    "a" * 65_536, "a" * _LONG, "é" * (_LONG // 2), '"' * 10_000, "\\" * 10_000,
    "(" * 10_000, "\n" * 10_000, "a," * 5000, "0" * 10_000, "-", "--", "-rf",
    "--help", "@", "#", "=", "==", "&", "a&b=c", ":",
    ";", ",", ".", "con", "a b", "A", "a.cfg", "server.cfg", "m-server", "m-layer", "owner", "administrator",
    "12345678-1234-1234-1234-123456789abc", "12345678123412341234123456789abc",
    "STEAM_1:0:11101", "[U:1:22202]",
    "https://steamcommunity.com/sharedfiles/filedetails/?id=" + "9" * 30,
    "javascript:alert(1)", "file:///etc/passwd",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308,
    2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, [], {}, [None], [[]], [{}],
    {"a": None}, {"": ""}, {"\0": 1}, {"a" * 10_000: 1},
    [1, "a"], ["a"] * 101, ["a"] * 10_000, {str(n): n for n in range(1000)},
    [[[[[[[[[[1]]]]]]]]]], {"a": {"b": {"c": {"d": 1}}}}, ["\0"],
    ["\ud800"], {"tags": "\0"}, {"tags": "\ud800"},
    {"tags": 10**400}, {"tags": 1e308}, {"max_players": 2**63},
    {"max_players": True}, {"map": []}, {"hostname": "a" * 1001},
]  # fmt: skip


def texts() -> list[str]:
    """All of them, and chance's until there are `COUNT`."""
    chance = dice("hostile texts")
    return [*TEXTS, *(_random(chance) for _ in range(COUNT - len(TEXTS)))][:COUNT]


def values() -> list[Any]:
    """For JSON: values of every type, then texts."""
    return [*VALUES, *texts()][:COUNT]


def _random(chance: Random) -> str:

    pools = [string.printable, "\0\x01\x7f\x85\u200b\u202e\ud800", "9٩²-.e", "éßΩ👩𝟙\U0010ffff", "'\"\\%{}<>;|$`/"]
    return "".join(chance.choice(chance.choice(pools)) for _ in range(chance.randrange(1, 60)))
