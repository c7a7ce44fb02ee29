"""VPK directories and mission files: what they say, and that malformed ones end in a sentence, soon."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import keyvalues, vpk
from tests.servers.addons import campaign
from tests.servers.addons import vpk as pack

MANY = settings(max_examples=2500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = {"scripts/vscripts/a.nut": b"x = 1", "readme": b"", "maps/one.bsp": b"VBSP", "materials/Big.VMT": b"y" * 9000}


@pytest.mark.parametrize("version", [1, 2])
def test_every_file_is_listed_with_its_size_and_can_be_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.vpk"
    path.write_bytes(pack(FILES, version))
    entries = {entry.path: entry for entry in vpk.read_directory(path)}
    assert {name: entry.size for name, entry in entries.items()} == {k.lower(): len(v) for k, v in FILES.items()}
    for name, data in FILES.items():
        assert vpk.read_entry(path, entries[name.lower()], 100_000) == data
        assert vpk.read_entry(path, entries[name.lower()], 3) == data[:3]


def test_campaigns_have_names_modes_and_maps(tmp_path: Path) -> None:
    path = tmp_path / "a.vpk"
    path.write_bytes(campaign("deadline", "Dead Line 2", "dl_m1"))
    entries = vpk.read_directory(path)
    assert vpk.maps_of(entries) == ["dl_m1"]
    [found] = vpk.campaigns_of(path, entries)
    assert (found.name, found.title, found.modes) == (
        "deadline",
        "Dead Line 2",
        {"coop": ["dl_m1"], "versus": ["dl_m1"]},
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too short"),
        (b"PK\3\4" + bytes(40), "does not begin"),
        (struct.pack("<III", vpk.SIGNATURE, 3, 1) + b"\0" * 20, "version 3"),
        (struct.pack("<III", vpk.SIGNATURE, 1, 1 << 31) + b"\0" * 20, "does not fit"),
        (pack(FILES)[:60], "does not fit"),
        (pack(FILES)[:-100], "beyond its end"),
        (pack({"../../etc/passwd": b"x"}), "no name in the game's folder"),
        (struct.pack("<III", vpk.SIGNATURE, 1, 3) + b"txt", "breaks off"),
    ],
)
def test_a_malformed_package_says_what_is_wrong(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.vpk"
    path.write_bytes(data)
    with pytest.raises(vpk.VpkError, match=reason):
        vpk.read_directory(path)


@MANY
@given(data=st.binary(max_size=400), version=st.sampled_from([1, 2]), size=st.integers(0, 500))
def test_any_directory_is_read_or_refused(tmp_path: Path, data: bytes, version: int, size: int) -> None:
    path = tmp_path / "any.vpk"
    path.write_bytes(struct.pack("<III", vpk.SIGNATURE, version, size) + data)
    _read(path)


@MANY
@given(cut=st.integers(0, 400), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_any_damage_to_a_good_package_is_read_or_refused(tmp_path: Path, cut: int, at: int, byte: int) -> None:
    data = bytearray(campaign("deadline", "Dead Line", "dl_m1", scripts__a_nut=b"x"))
    data[at % len(data)] = byte
    path = tmp_path / "any.vpk"
    path.write_bytes(data[: len(data) - cut])
    _read(path)


def _read(path: Path) -> None:
    with suppress(vpk.VpkError):
        vpk.campaigns_of(path, vpk.read_directory(path))


@MANY
@given(st.text(alphabet='"{}\\/ \n[]abc$', max_size=300))
def test_any_text_is_read_as_key_values(text: str) -> None:
    pairs = keyvalues.parse(text)
    assert isinstance(pairs, list)


def test_deep_and_long_key_values_end_soon() -> None:
    keyvalues.parse('"a" {' * 100_000)
    keyvalues.parse('"' + "\\" * 1_000_000)
    keyvalues.parse("[ " * 200_000)
    assert keyvalues.parse('a { b c } "d" "e\\"f" } ignored') == [("a", [("b", "c")]), ("d", 'e\\"f')]
