"""Definitions: those that come with the portal hold, and a bad one is told as file, line, key and mend."""

import re
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from servers import games
from servers.games.validate import DefinitionError, load

BUNDLED = Path(games.__file__).parent
GOOD = """\
slug = "mine"
name = "Mine"
summary = "A game."
secrets = ["rcon"]

[install]
method = "debian"
packages = ["mine-server"]

[run]
argv = ["{merged}/mine", "{port.game}", "{setting.map}"]

[[ports]]
name = "game"
protocol = "udp"
from = 30000
to = 30009

[query]
protocol = "quake3"

[console]
protocol = "quake3-rcon"
secret = "rcon"

[[settings]]
key = "map"
type = "string"
label = "Map"
default = "first"
min_length = 1

[[settings]]
key = "title"
type = "string"
label = "Title"

[[files]]
path = "mine.cfg"
syntax = "quake"
lines = ["set title {setting.title}", "set rcon {secret.rcon}"]
"""


@pytest.fixture
def folder(tmp_path: Path, settings) -> Path:
    """An admin's games.d beside the portal's own definitions."""
    settings.GAMES_DIRS = [BUNDLED, tmp_path]
    return tmp_path


def complaint(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        load(path)
    return str(caught.value).replace(str(folder), "")


def test_the_games_that_come_with_the_portal_are_all_usable(folder: Path) -> None:
    assert set(games.all_games()) == {"left4dead2", "openarena", "practice", "teeworlds"}
    assert games.problems() == []


def test_left_4_dead_2_is_defined_completely() -> None:
    game = games.get("left4dead2")
    rendered = game.render(
        settings={"map": "c5m1_waterfront", "gamemode": "versus"},
        secrets={"rcon": "abc"}, ports={"game": 27020, "tv": 27120}, name="tuesday", merged="/merged",
        address="192.0.2.1",
    )  # fmt: skip
    argv = " ".join(rendered.argv)
    assert "-ip 192.0.2.1 -port 27020 -tickrate 30 +tv_port 27120 +tv_enable 0 +sv_pure 0 " in argv
    assert argv.endswith("+mp_gamemode versus +map c5m1_waterfront")
    assert {"-norestart", "-strictportbind"} <= set(rendered.argv)
    assert b'rcon_password "abc"\n' in rendered.files["left4dead2/cfg/server.cfg"]
    assert (game.install.app, game.install.platforms) == (222860, ("windows", "linux"))


def test_an_admins_definition_is_added_and_may_replace_one_of_ours(folder: Path) -> None:
    (folder / "mine.toml").write_text(GOOD)
    (folder / "teeworlds.toml").write_text(GOOD.replace('"mine"', '"teeworlds"').replace("Mine", "Our Teeworlds"))
    assert games.get("mine").name == "Mine"
    assert games.get("teeworlds").name == "Our Teeworlds"


def test_a_bad_definition_is_left_out_and_reported_while_the_others_work(folder: Path) -> None:
    (folder / "mine.toml").write_text(GOOD.replace("protocol = ", "protcol = ", 1))
    (folder / "broken.toml").write_bytes(b"\xff\xfe")
    shutil.copy(BUNDLED / "practice.toml", folder / "other-name.toml")
    assert set(games.all_games()) == {"left4dead2", "openarena", "practice", "teeworlds"}
    found = "\n".join(games.problems())
    assert f"{folder}/mine.toml:15: ports[0].protcol is not a known key; did you mean protocol?" in found
    assert "broken.toml: cannot be read" in found
    assert "other-name.toml:1: slug has to be 'other-name'" in found


def test_a_definition_that_is_mended_is_used_without_a_restart(folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_text(GOOD.replace("quake3-rcon", "quake-rcon"))
    assert "mine" not in games.all_games()
    path.write_text(GOOD)
    assert games.get("mine").slug == "mine"
    path.unlink()
    with pytest.raises(games.UnknownGame, match=r"No game is called 'mine'\. Pick one of: left4dead2, openarena"):
        games.get("mine")


def test_a_later_folder_that_does_not_exist_is_no_trouble(settings, tmp_path: Path) -> None:
    settings.GAMES_DIRS = [BUNDLED, tmp_path / "nowhere"]
    assert "practice" in games.all_games()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('name = "Mine"\n', "", "/mine.toml:1: name is missing: add it"),
        ('name = "Mine"', 'naem = "Mine"', "/mine.toml:2: naem is not a known key; did you mean name?"),
        ("from = 30000", "from = 80", "/mine.toml:16: ports[0].from has to be greater than or equal to 1024"),
        ("to = 30009", "to = 29999", "/mine.toml:17: ports[0].to has to be at least 30000, the first port"),
        ("[run]", "[run]\nworkdir = '../x'", "/mine.toml:11: run.workdir '../x' has to be a path"),
        ("[install]", 'editable = ["a/*", "../*"]\n[install]', "/mine.toml:6: editable[1] '../*' has to be a path"),
        ("[run]", "[run]\nstop_signal = 'KILL'", "/mine.toml:11: run.stop_signal 'KILL' is not a signal"),
        ('path = "mine.cfg"', 'path = "/etc/passwd"', "/mine.toml:39: files[0].path '/etc/passwd' has to"),
        ("{port.game}", "{port.gmae}", "/mine.toml:11: run.argv[1] {port.gmae} is not a known placeholder"),
        ("{port.game}", "{secret.rcon}", "/mine.toml:11: run.argv[1] {secret.rcon} would be seen in the list"),
        ("title {setting.title}", 'title \\"{setting.title}\\"', "files[0].lines[0] {setting.title} becomes a"),
        ('secret = "rcon"', 'secret = "recon"', "/mine.toml:24: console.secret 'recon' is not listed in secrets"),
        ('[query]\n', '[query]\nport = "qeury"\n', "/mine.toml:20: query.port 'qeury' is not one of the ports: game"),
        ("[query]\n", "[actions]\nmode = 'title'\n[query]\n", "actions.mode 'title' is no setting with choices and a"),
        ('default = "first"', 'default = "two words"', "settings[0].default 'two words' may hold only letters"),
        ("min_length = 1", "min_length = 6", "/mine.toml:30: settings[0].default the default does not fit"),
        ('key = "title"', 'key = "map"', "/mine.toml:33: settings[1] 'map' is there twice"),
        ('method = "debian"', 'method = "magic"', "/mine.toml:6: install has an unknown 'method', 'magic'; use one of"),
        ('type = "string"', 'type = "sting"', "/mine.toml:26: settings[0] has an unknown 'type', 'sting'"),
        ('packages = ["mine-server"]', "packages = 'x'", "/mine.toml:8: install.packages has to be a list"),
        ("[run]", "[run", "/mine.toml: is not TOML: Expected ']'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_key_and_mend(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert expected in complaint(tmp_path, GOOD.replace(old, new, 1))


def test_a_definition_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    assert "larger than 256 KiB" in complaint(tmp_path, "#" * 300_000)


def test_the_command_lists_games_and_fails_on_a_bad_definition(folder: Path, capsys) -> None:
    call_command("games")
    assert "openarena" in capsys.readouterr().out
    (folder / "mine.toml").write_text(GOOD.replace("udp", "ucp"))
    with pytest.raises(CommandError, match=r"mine\.toml:15: ports"):
        call_command("games")


def test_the_command_checks_a_file_before_it_is_put_in_place(tmp_path: Path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    call_command("games", str(path))
    assert "mine" in capsys.readouterr().out


def test_the_worked_example_in_the_documentation_is_usable(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"```toml\n(.*?)```", (Path(settings.BASE_DIR) / "docs" / "games.md").read_text(), re.DOTALL
    )
    path = tmp_path / "armagetronad.toml"
    path.write_text(example)
    rendered = load(path).render(settings={"hostname": "a; b"}, secrets={}, ports={"game": 4534}, name="x", merged="/m")
    assert rendered.files["home/var/autoexec.cfg"].startswith(b"SERVER_NAME a; b\nSERVER_PORT 4534\n")
