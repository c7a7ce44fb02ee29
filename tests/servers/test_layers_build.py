"""A layer's builds: whole or not at all, named by content, mounted over the game at a server's next start."""

import hashlib
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from jobs.models import Job
from portal.models import User
from servers import services
from servers.errors import LayerInUse, LayerInvalid
from servers.layers import stack
from servers.layers.content import seal
from servers.models import Blueprint, Layer, LayerBuild, Server
from servers.runtime import get_runtime
from servers.services.layer_cleaning import unused_digests
from tests.servers.living import lines_of, settled


def make_layer(by: User, name: str = "Motd", game: str = "practice", **files: str) -> Layer:
    source = {"files": {key.replace("__", "/"): text for key, text in files.items()}}
    return services.create_layer(by=by, name=name, game=game, kind="files", visibility="private", source=source)


def built(layer: Layer) -> LayerBuild:
    job = Job.objects.about(layer.topic).first()
    assert settled(job) == "succeeded", job.error
    layer.refresh_from_db()
    return layer.build


def left_on_disk() -> set[str]:
    return {path.name for path in (django_settings.STATE_DIR / "layers").iterdir()} - {".lock"}


def test_a_servers_files_are_under_its_layers_and_the_upper_one_wins(portal, alice, practice):
    portal.start("cluster")
    lower = make_layer(alice, "Lower", practice__motd="lower", practice__extra="only here")
    upper = make_layer(alice, "Upper", practice__motd="upper")
    for layer in (lower, upper):
        built(layer)
        services.add_to_stack(by=alice, holder=practice, layer=layer)
    start = services.start_server(by=alice, server=practice)
    assert settled(start) == "succeeded", start.error
    assert any("Upper, Lower" in line for line in lines_of(start.stream_id))
    tree = Path(
        f"/proc/{get_runtime().states([practice.name])[practice.name].pid}/root{get_runtime().tree(practice.name)}"
    )
    assert (tree / "practice/motd").read_text() == "upper"
    assert (tree / "practice/extra").read_text() == "only here"
    practice.refresh_from_db()
    assert practice.mounted == [lower.build.digest, upper.build.digest]


def test_a_changed_layer_is_a_new_build_and_the_former_stays_for_who_runs_on_it(portal, alice, practice):
    portal.start("cluster")
    layer = make_layer(alice, practice__motd="one")
    first = built(layer)
    services.add_to_stack(by=alice, holder=practice, layer=layer)
    assert settled(services.start_server(by=alice, server=practice)) == "succeeded"
    for text in ("two", "three", "four", "five"):
        assert settled(services.change_source(by=alice, layer=layer, source={"files": {"motd": text}})) == "succeeded"
    layer.refresh_from_db()
    assert layer.build != first
    assert (stack.folder(first.digest) / "practice/motd").read_text() == "one"
    assert layer.builds.filter(pk=first.pk).exists(), "a server runs on it"
    assert layer.builds.count() == 4


def test_the_same_content_is_stored_once(portal, alice):
    portal.start("cluster")
    one, two = (built(make_layer(alice, name, motd="same")) for name in ("One", "Two"))
    assert one.digest == two.digest
    assert left_on_disk() == {one.digest}
    line = f"{hashlib.sha256(b'same').hexdigest()} 4 motd\n"
    assert one.digest == hashlib.sha256(line.encode()).hexdigest()


def test_a_game_may_write_into_small_files_by_way_of_its_mount_and_large_ones_are_shared(tmp_path):
    for name, size in (("bans.cfg", 10), ("campaign.vpk", 2 << 20)):
        (tmp_path / name).write_bytes(bytes(size))
    seal(tmp_path, check=lambda: None)
    assert [path.stat().st_mode & 0o777 for path in sorted(tmp_path.iterdir())] == [0o644, 0o444]


def test_a_build_that_fails_names_the_file_and_leaves_nothing(portal, alice):
    portal.start("cluster")
    layer = make_layer(alice, fine="x")
    build = built(layer)
    # The page refuses such a name; the worker does not rely on that.
    Layer.objects.filter(pk=layer.pk).update(source={"files": {"fine": "y", "../up": "x"}})
    job = services.build_layer(by=alice, layer=layer)
    assert settled(job) == "failed"
    assert job.error == "“../up” leads out of its folder by “..”."
    assert left_on_disk() == {build.digest}
    assert list(LayerBuild.objects.all()) == [build]


def test_a_start_says_which_layer_has_no_files(portal, alice, practice):
    layer = make_layer(alice, motd="x")
    services.add_to_stack(by=alice, holder=practice, layer=layer)
    with pytest.raises(LayerInvalid, match="Motd was not built yet"):
        stack.for_start(practice)


def test_cleaning_takes_what_nobody_has_and_nothing_else(portal, alice, practice):
    portal.start("cluster")
    used, unused = make_layer(alice, "Used", motd="used"), make_layer(alice, "Unused", motd="unused")
    kept, gone = built(used), built(unused)
    services.delete_layer(layer=unused)
    assert unused_digests([kept.digest, gone.digest]) == {gone.digest}
    job = services.request_cleaning(node=practice.node)
    assert settled(job) == "succeeded", job.error
    assert left_on_disk() == {kept.digest}
    assert services.request_cleaning(node=practice.node) is None


def test_a_layer_in_use_cannot_be_deleted_and_the_sentence_says_who_uses_it(
    alice, server: Server, blueprint: Blueprint
):
    layer = make_layer(alice, motd="x")
    services.add_to_stack(by=alice, holder=server, layer=layer)
    services.add_to_stack(by=alice, holder=blueprint, layer=layer)
    with pytest.raises(LayerInUse, match="alices-practice, the blueprint Practice"):
        services.delete_layer(layer=layer)
    services.remove_from_stack(by=alice, holder=blueprint, layer=layer.pk)
    services.delete_server(by=alice, server=server)
    services.delete_layer(layer=layer)
    assert not Layer.objects.exists(), "a deleted server does not hold it"
