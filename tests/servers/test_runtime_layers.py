"""What a game sees of its layers, where its writes go, and what it cannot reach."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from servers.runtime.base import RuntimeFailure
from servers.runtime.local import LocalRuntime
from servers.runtime.upper import is_deletion
from tests.servers.host import GAME, Host, digest
from tests.stack import wait_for

SHOW = "#!/bin/sh\nfor file in low middle cfg/server.cfg own; do echo $file: $(cat $file); done\n" + GAME


def test_a_higher_layer_covers_a_lower_one_and_the_servers_own_files_cover_all(host: Host) -> None:
    files = {"game.sh": SHOW, "low": "installation", "middle": "installation", "cfg/server.cfg": "installation"}
    first = host.layer("first", **{name.replace("/", "__").replace(".sh", "_sh"): text for name, text in files.items()})
    second = host.layer("second", middle="stack", cfg__server_cfg="")
    spec = host.spec(layers=(first, second), files={"cfg/server.cfg": b"generated", "own": b"generated"})
    host.runtime.prepare(spec)
    (host.folder() / "upper" / "own").write_text("mine")
    host.runtime.start(spec)
    host.wait_line("ready")
    assert host.lines()[:4] == ["low: installation", "middle: stack", "cfg/server.cfg: generated", "own: mine"]


def test_forty_layers_are_stacked_in_order(host: Host) -> None:
    layers = tuple(host.layer(f"layer,{n:02}:\\", game_sh=SHOW, low=str(n)) for n in range(40))
    host.runtime.start(host.spec(layers=layers))
    host.wait_line("low: 39")


def test_more_layers_than_the_kernel_takes_are_refused_with_a_sentence(host: Host) -> None:
    layers = tuple(host.layer(f"layer{n}", game_sh=GAME) for n in range(300))
    with pytest.raises(RuntimeFailure, match="301 layers are more than can be mounted"):
        host.runtime.start(host.spec(layers=layers))
    assert host.state().unit == "stopped"


def test_writes_go_to_the_servers_own_files_and_never_into_the_installation(host: Host) -> None:
    script = "#!/bin/sh\nchmod u+w data; echo new >> data; echo made > made; mkdir d; rm gone\n" + GAME
    installation = host.layer("installation", game_sh=script, data="old\n", gone="x")
    before = digest(installation)
    spec = host.spec(layers=(installation,))
    host.runtime.start(spec)
    host.wait_line("ready")
    host.runtime.stop("one")
    assert digest(installation) == before
    upper = host.folder() / "upper"
    assert (upper / "data").read_text() == "old\nnew\n"
    assert (upper / "made").read_text() == "made\n"
    assert (upper / "d").is_dir()
    host.runtime.start(spec)
    host.wait_line("ready")
    assert "rm: cannot remove 'gone': No such file or directory" in host.lines()


def test_the_mounts_are_seen_by_nobody_else_and_gone_with_the_game(host: Host) -> None:
    host.runtime.start(host.spec())
    assert str(host.folder()) not in Path("/proc/self/mountinfo").read_text().encode().decode("unicode_escape")
    assert not list((host.folder() / "merged").iterdir())
    game = host.state().pid
    assert "overlay" in Path(f"/proc/{game}/mountinfo").read_text()
    host.runtime.stop("one")
    assert not Path(f"/proc/{game}").exists()


def test_a_game_has_no_capabilities_and_can_gain_none(host: Host) -> None:
    host.runtime.start(host.spec())
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{host.state().pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_a_game_cannot_see_the_portals_secrets_or_another_servers_files_nor_write_elsewhere(
    host: Host, tmp_path: Path
) -> None:
    host.runtime.prepare(host.spec(name="two"))
    (host.folder("two") / "upper" / "secret").write_text("x")
    home = Path(__file__).parent
    script = (
        f"#!/bin/sh\nls -A '{settings.VAR_DIR}' '{host.folder('two')}' 2>&1\n"
        f"touch '{home}/evil' 2>&1; touch /tmp/mine && ls -A /tmp; kill -9 {os.getpid()} 2>&1\n"
    )
    host.runtime.start(host.spec(script + GAME))
    host.wait_line("ready")
    output = "\n".join(host.lines())
    assert "secret" not in output and "postgres" not in output
    assert f"touch: cannot touch '{home}/evil'" in output
    assert "mine" in output and not Path("/tmp/mine").exists()
    assert "No such process" in output


@pytest.mark.parametrize(
    "path",
    ["../evil", "/evil", "a/../../evil", "..", "", "a/", "link/evil", "nul\0", "a/./../../../evil", "\udcff\ud800"],
)
def test_a_config_path_that_leaves_its_folder_is_refused_and_the_last_config_stays(host: Host, path: str) -> None:
    host.runtime.prepare(host.spec(files={"good.cfg": b"1"}))
    with pytest.raises(RuntimeFailure, match="The config files could not be written"):
        host.runtime.prepare(host.spec(files={"link": b"", path: b"evil"}))
    assert (host.folder() / "config" / "good.cfg").read_bytes() == b"1"
    assert not list(host.root.rglob("evil"))
    assert {entry.name for entry in host.folder().iterdir()} == {"config", "console", "merged", "upper", "work"}


def test_config_is_written_afresh_at_every_start_but_never_under_a_running_game(host: Host) -> None:
    host.runtime.start(host.spec(files={"old.cfg": b"1"}))
    host.runtime.start(host.spec(files={"new.cfg": b"2"}))
    host.runtime.prepare(host.spec(files={"new.cfg": b"2"}))
    assert [path.name for path in (host.folder() / "config").iterdir()] == ["old.cfg"]
    host.runtime.stop("one")
    host.runtime.start(host.spec(files={"new.cfg": b"2"}))
    assert [path.name for path in (host.folder() / "config").iterdir()] == ["new.cfg"]


@pytest.fixture
def copying(host: Host, settings) -> Host:
    """The same machine, were it one that mounts nothing."""
    settings.LOCAL_MOUNT = "copy"
    host.runtime = LocalRuntime()
    return host


def test_without_mounts_the_console_says_so_and_the_layers_are_the_same(copying: Host) -> None:
    first = copying.layer("first", game_sh=SHOW, low="installation", middle="installation")
    second = copying.layer("second", middle="stack")
    copying.runtime.start(copying.spec(layers=(first, second), files={"cfg/server.cfg": b"generated"}))
    copying.wait_line("ready")
    assert copying.lines()[0].startswith("[left4me] Its files are linked and copied")
    assert {"low: installation", "middle: stack", "cfg/server.cfg: generated"} <= set(copying.lines())


def test_without_mounts_what_the_game_wrote_survives_and_the_installation_is_untouched(copying: Host) -> None:
    script = (
        "#!/bin/sh\necho run >> log; cp data data.new; chmod u+w data.new; echo new >> data.new; mv data.new data\n"
    )
    script += (
        "mkdir -p saves/deep; echo run >> saves/deep/save; ln -sf log newest; echo evil 2>/dev/null > fixed\n" + GAME
    )
    installation = copying.layer("installation", game_sh=script, data="old\n", fixed="fixed\n", saves__first="x")
    before = digest(installation)
    spec = copying.spec(layers=(installation,), files={"server.cfg": b"1"})
    for _ in range(2):
        copying.runtime.start(spec)
        copying.wait_line("ready")
        copying.runtime.stop("one")
    upper = copying.folder() / "upper"
    assert digest(installation) == before
    assert (upper / "log").read_text() == "run\nrun\n"
    assert (upper / "data").read_text() == "old\nnew\nnew\n"
    assert (upper / "saves/deep/save").read_text() == "run\nrun\n"
    assert (upper / "newest").readlink() == Path("log")
    assert not any((upper / name).exists() for name in ("fixed", "game.sh", "server.cfg", "saves/first"))
    assert not list((copying.folder() / "merged").iterdir())


DELETING = (
    "#!/bin/sh\nfor f in a d/one d/two e/one own; do [ -e $f ] && echo has $f; done\n"
    "if [ ! -e run1 ]; then rm a; rm -r d; rm e/one; echo 1 > run1; echo > own;\n"
    "elif [ ! -e run2 ]; then mkdir d; echo new > d/two; rm own; echo 2 > run2; fi\n"
)


def test_without_mounts_what_the_game_deleted_stays_deleted(copying: Host, settings) -> None:
    layer = copying.layer("more", a="a", d__one="1", d__two="2", e__one="1")
    spec = copying.spec(DELETING + GAME)
    spec = replace(spec, layers=(layer, *spec.layers))

    def has() -> list[str]:
        before = len(copying.lines())
        copying.runtime.start(spec)
        wait_for(lambda: "ready" in copying.lines()[before:], what="ready")
        copying.runtime.stop("one")
        return [line for line in copying.lines()[before:] if line.startswith("has")]

    assert has() == ["has a", "has d/one", "has d/two", "has e/one"]
    assert has() == ["has own"]
    assert has() == ["has d/two"]
    settings.LOCAL_MOUNT = "overlay"
    copying.runtime = LocalRuntime()
    assert has() == ["has d/two"]


def test_a_collection_that_was_killed_is_ended_without_losing_what_it_had_moved(copying: Host) -> None:
    spec = copying.spec("#!/bin/sh\necho run >> log; rm a\n" + GAME, files={"a": b"a"})
    copying.runtime.start(spec)
    copying.wait_line("ready")
    folder = copying.folder()
    manifest = (folder / "merged.json").read_text()
    copying.runtime.stop("one")
    for name, text in (("merged.json", manifest), ("merged.settled", "")):  # killed when it had moved the log
        (folder / name).write_text(text)
    copying.runtime.stop("one")
    assert (folder / "upper" / "log").read_text() == "run\n"
    assert is_deletion((folder / "upper" / "a").lstat())
    assert {path.name for path in folder.iterdir()} >= {"upper", "merged"}
    assert not (folder / "merged.json").exists() and not (folder / "merged.settled").exists()


def test_a_server_may_change_between_mounts_and_copies(copying: Host, settings) -> None:
    spec = copying.spec("#!/bin/sh\necho run >> log; cat log\n" + GAME)
    copying.runtime.start(spec)
    os.kill(copying.state().pid or 0, 9)
    copying.runtime.stop("one")
    settings.LOCAL_MOUNT = "overlay"
    copying.runtime = LocalRuntime()
    copying.runtime.start(spec)
    copying.wait_line("ready")
    assert (copying.folder() / "upper" / "log").read_text().count("run") >= 2
