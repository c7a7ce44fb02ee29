"""VPK directories and mission files: what they say, and that malformed ones end in a sentence, soon."""

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import strategies as st

from servers import keyvalues, vpk
from tests.generated import cases
from tests.servers.addons import campaign
from tests.servers.addons import vpk as pack
from tests.servers.malformed import MemoryFile, damaged, try_all

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


@pytest.mark.soak
def test_thousands_of_malformed_packages_are_read_or_refused() -> None:
    def read(data: bytes) -> None:
        file.hold(data)
        with suppress(vpk.VpkError):
            entries = vpk.read_directory(file.path)
            for found in vpk.campaigns_of(file.path, entries):
                assert found.name.isprintable() and found.title.isprintable()
            for entry in entries[:5]:
                assert ".." not in entry.path.split("/") and not entry.path.startswith("/")
                assert len(vpk.read_entry(file.path, entry, 10)) <= 10

    good = [pack(dict.fromkeys(FILES, b"x = 1"), version) for version in (1, 2)]
    good.append(campaign("deadline", "Dead Line", "dl_m1", scripts__a_nut=b"x"))
    with MemoryFile() as file:
        try_all(read, data=st.binary(min_size=1, max_size=200).map(_with_header) | damaged(*good))


def _with_header(drawn: bytes) -> bytes:
    """Any bytes as a directory; its size is now and then another than the header says."""
    said = len(drawn) - 1 if drawn[0] < 200 else drawn[0] * 2
    return struct.pack("<III", vpk.SIGNATURE, 1 + drawn[0] % 2, said) + drawn[1:]


@pytest.mark.soak
def test_malformed_key_values_are_read() -> None:
    def read(text: str) -> None:
        pairs = keyvalues.parse(text)
        assert isinstance(keyvalues.table(pairs, "a"), list) and keyvalues.text(pairs, "b").isprintable()

    try_all(read, cases(500, 2500), text=st.text(alphabet='"{}\\/ \n[]abc$', max_size=200))


def test_deep_and_long_key_values_end_soon() -> None:
    keyvalues.parse('"a" {' * 100_000)
    keyvalues.parse('"' + "\\" * 1_000_000)
    keyvalues.parse("[ " * 200_000)
    assert keyvalues.parse('a { b c } "d" "e\\"f" } ignored') == [("a", [("b", "c")]), ("d", 'e\\"f')]
