"""Whatever a member types stays one value: no text can add a line, a command or an argument to what is started.

Each rendered file is parsed back by a reader written from the rules of the game's own console.
"""

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from servers import games
from servers.games.syntax import RefusedError, Syntax, write
from servers.games.validate import load

ALL = sorted(games.all_games())
PORTS = {"game": 27960, "console": 8403, "tv": 27120}
NASTY = [
    '"',
    "\\",
    ";",
    "\n",
    "\r",
    "\0",
    "//",
    "/*",
    "#",
    "+set",
    "-game",
    " ",
    "$",
    "`",
    "%",
    "{setting.map}",
    "é",
    "'",
]
text = st.lists(st.sampled_from(NASTY) | st.text(max_size=6) | st.text("abc019_-+", max_size=6), max_size=6).map(
    "".join
)


def render(game: games.Game, **settings: object) -> games.Rendered:
    secrets = dict.fromkeys(game.secrets, "s3cret")
    return game.render(settings=settings, secrets=secrets, ports=PORTS, name="tuesday", merged="/srv/a b/merged")


def quake_commands(content: str) -> list[list[str]]:
    """As Quake 3's and Source's consoles: a command ends at ; or a newline outside quotes, and quotes do not nest."""
    lines = re.findall(r'(?:"[^"\n]*"|[^";\n])+', content)
    commands = [[quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^\s"]+)', line)] for line in lines]
    return [words for words in commands if words]


@pytest.mark.parametrize("slug", ALL)
@given(data=st.data())
def test_no_text_adds_a_command_to_a_config_file(slug: str, data: st.DataObject) -> None:
    game = games.get(slug)
    key = data.draw(
        st.sampled_from([setting.key for setting in game.settings if setting.type in ("string", "password")])
    )
    value = data.draw(text)
    try:
        cleaned = game.clean_settings({key: value})[key]
    except games.SettingsError:
        return
    plain, rendered = render(game), render(game, **{key: value})
    assert len(rendered.argv) == len(plain.argv)
    for file in game.files:
        before, after = plain.files[file.path].decode(), rendered.files[file.path].decode()
        assert after.count("\n") == before.count("\n") == len(file.lines)
        if file.syntax in ("quake", "source"):
            assert after.isascii()
            parsed = quake_commands(after)
            assert [words[0] for words in parsed] == [words[0] for words in quake_commands(before)]
            assert file.syntax not in game.places[key] or not cleaned or cleaned in {words[-1] for words in parsed}
        if file.syntax == "teeworlds":
            for line, old in zip(after.splitlines(), before.splitlines(), strict=True):
                assert teeworlds_words(line)[0] == teeworlds_words(old)[0]
                assert len(teeworlds_words(line)) == 2
            assert cleaned in {teeworlds_words(line)[1] for line in after.splitlines()}


def teeworlds_words(line: str) -> list[str]:
    """As Teeworlds' console reads: \\" and \\\\ inside quotes, and ; or # outside them end a command."""
    words, at = [], 0
    while at < len(line):
        if line[at] == '"':
            word, at = "", at + 1
            while line[at] != '"':
                at += line[at] == "\\" and line[at + 1] in '\\"'
                word, at = word + line[at], at + 1
            words.append(word)
        elif line[at] in ";#":
            raise AssertionError(f"a second command in {line!r}")
        elif line[at] != " ":
            end = line.find(" ", at)
            words.append(line[at : end if end > 0 else None])
            at += len(words[-1])
        at += 1
    return words


@given(text)
def test_an_argument_is_one_word_to_every_parser_that_may_see_it(value: str) -> None:
    try:
        written = write(value, Syntax.ARGV)
    except RefusedError:
        return
    assert written == value
    assert shlex.split(value) == value.split() == [value]
    assert value[0] not in "+-/."


@given(text)
def test_a_line_of_an_ini_or_plain_file_stays_one_line(value: str) -> None:
    for syntax in (Syntax.INI, Syntax.PLAIN):
        try:
            written = write(value, syntax)
        except RefusedError:
            continue
        assert written == value
        assert len(f"x{written}".splitlines()) == 1
        if syntax is Syntax.INI:
            assert not set(written) & set("\"'#;\\")


@given(text)
def test_text_that_looks_like_a_placeholder_is_not_substituted(value: str) -> None:
    game = games.get("teeworlds")
    assume(value.isprintable())
    shown = f"{{secret.rcon}}{value}"[:60].strip()
    assert b"hunter2" not in game.render(
        settings={"hostname": shown}, secrets={"rcon": "hunter2"}, ports=PORTS, name="x", merged="/m"
    ).files["usr/share/games/teeworlds/left4me.cfg"].split(b"\n")[3]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            'say "hi"',
            "Server name may not hold \" (column 5): the game's config files give it a meaning. Leave it out.",
        ),
        ("a; quit", "Server name may not hold ; (column 2): the game's config files give it a meaning. Leave it out."),
        ("a\\b", "Server name may not hold \\ (column 2): the game's config files give it a meaning. Leave it out."),
        ("a\nquit", "Server name may not hold line breaks or invisible characters (column 2). Use one line."),
        ("a\u202eb", "Server name may not hold line breaks or invisible characters (column 2). Use one line."),
        ("Zoë", "Server name may not hold ë (column 3). The game reads only plain English letters, digits and signs."),
        ("", "Server name may not be empty."),
        ("x" * 61, "Server name may be at most 60 characters long; this has 61."),
    ],
)
def test_what_a_console_cannot_hold_is_refused_with_a_sentence(value: str, sentence: str) -> None:
    with pytest.raises(games.SettingsError) as caught:
        games.get("openarena").clean_settings({"hostname": value})
    assert caught.value.by_key == {"hostname": sentence}


def test_text_that_needs_no_refusing_arrives_as_typed() -> None:
    hostname = "Tom & Jerry's $HOME `id` $(id) %n 100% // fun"
    assert f'set sv_hostname "{hostname}"\n'.encode() in render(games.get("openarena"), hostname=hostname).files[
        "usr/lib/openarena-server/baseoa/left4me.cfg"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "cleaned"),
    [
        ("max_players", "12", 12),
        ("max_players", 2, 2),
        ("public", "on", True),
        ("public", False, False),
        ("motd", " a", "a"),
    ],
)
def test_values_of_a_form_become_typed(key: str, value: object, cleaned: object) -> None:
    assert games.get("openarena").clean_settings({key: value}) == {key: cleaned}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_players", "many"),
        ("max_players", 33),
        ("max_players", True),
        ("max_players", "1" * 5000),
        ("max_players", 2.5),
        ("public", "maybe"),
        ("public", 1),
        ("gametype", "2"),
        ("gametype", 0),
        ("hostname", 7),
        ("hostname", None),
        ("map", "../x"),
        ("map", "+quit"),
        ("nope", "x"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_key(key: str, value: object) -> None:
    with pytest.raises(games.SettingsError) as caught:
        games.get("openarena").clean_settings({key: value})
    assert list(caught.value.by_key) == [key]


def test_a_stored_value_the_definition_no_longer_knows_does_not_stop_a_start() -> None:
    assert render(games.get("practice"), gone="x", hostname="Still here").files["server.cfg"].startswith(
        b'hostname "Still here"\n'
    )  # fmt: skip


def test_a_missing_port_or_secret_is_told() -> None:
    game = games.get("teeworlds")
    with pytest.raises(games.RenderError, match="The server has no port console"):
        game.render(settings={}, secrets={"rcon": "x"}, ports={"game": 1}, name="x", merged="/m")
    with pytest.raises(games.RenderError, match="The server has no secret rcon"):
        game.render(settings={}, secrets={}, ports=PORTS, name="x", merged="/m")


def test_secrets_are_made_once_and_do_not_show_when_printed() -> None:
    game = games.get("openarena")
    made = game.complete_secrets({})
    assert re.fullmatch("[0-9a-f]{24}", made["rcon"])
    assert game.complete_secrets(made) == made
    rendered = game.render(settings={}, secrets=made, ports=PORTS, name="x", merged="/m")
    assert made["rcon"] not in repr(rendered)


def test_a_folder_with_a_blank_in_its_name_stays_one_argument() -> None:
    rendered = render(games.get("openarena"))
    assert rendered.argv[0] == "/srv/a b/merged/usr/lib/ioquake3/ioq3ded"
    assert not any(" " in argument for argument in rendered.argv[1:])


def test_an_ini_file_and_other_words_for_yes_and_no(tmp_path: Path) -> None:
    definition = (Path(games.__file__).parent / "practice.toml").read_text()
    definition = definition.replace('slug = "practice"', 'slug = "ini"') + (
        '[[settings]]\nkey = "pvp"\ntype = "boolean"\nlabel = "PvP"\non = "true"\noff = "false"\n'
        '[[files]]\npath = "a.conf"\nsyntax = "ini"\nlines = ["x = {setting.hostname} {name}", "pvp = {setting.pvp}"]\n'
    )
    (tmp_path / "ini.toml").write_text(definition)
    game = load(tmp_path / "ini.toml")
    assert render(game, hostname="Fun", pvp=True).files["a.conf"] == b"x = Fun tuesday\npvp = true\n"
    with pytest.raises(games.SettingsError, match="Server name may not hold #"):
        game.clean_settings({"hostname": "a # b"})
