"""What a member may have: one sum of all that exists, kept also by many who ask at the same moment."""

import hashlib
import os
from functools import partial

import pytest
from django.test import Client
from django.utils import timezone

from jobs.models import Job, Stream
from jobs.run import Run
from portal import services as people
from portal.models import User
from servers import services
from servers.disk import last_known
from servers.errors import DiskLimit, TooManyServers
from servers.layers import stack, workshop
from servers.layers.build import build
from servers.layers.tasks import clean
from servers.models import Layer, LayerBuild, Server, Upload
from servers.services import quotas, uploads
from servers.services.layers import MAX_LAYERS
from tests.servers.archives import zipped
from tests.servers.racing import race

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def state(settings, tmp_path) -> None:
    settings.STATE_DIR = tmp_path
    settings.DISK_QUOTA = 8 * GIB


def upload(by: User, size: int = 2 * GIB) -> Upload:
    return services.begin_upload(by=by, filename="a.zip", size=size)


def make_layer(by: User, **more) -> Layer:
    values = {"name": "Motd", "game": "practice", "kind": "files", "visibility": "private"}
    return services.create_layer(by=by, **values | {"source": {"files": {"motd": "hello"}}} | more)


def run_of(layer: Layer) -> Run:
    return Run(Job.objects.about(layer.topic).first().pk)


def kinds(results: list) -> dict[str, int]:
    names = [type(result).__name__ for result in results]
    return {name: names.count(name) for name in set(names)}


def test_forty_uploads_at_once_get_exactly_the_limit(transactional_db, alice, bob):
    assert kinds(race([partial(upload, alice) for _ in range(40)])) == {"Upload": 4, "DiskLimit": 36}
    assert quotas.disk_use(alice).left == 0
    assert upload(bob), "it is nobody else's limit"


def test_many_small_uploads_at_once_are_bounded_in_number(transactional_db, alice):
    results = race([partial(upload, alice, 1) for _ in range(40)])
    assert kinds(results) == {"Upload": uploads.MOST_OPEN, "UploadRefused": 40 - uploads.MOST_OPEN}


def test_a_hundred_layers_at_once_get_exactly_the_limit(transactional_db, alice, node):
    source = {"game": "practice", "kind": "files", "owner": alice}
    Layer.objects.bulk_create(Layer(slug=f"layer-{n}", name="x", **source) for n in range(MAX_LAYERS - 30))
    results = race([partial(make_layer, alice, name=f"New {n}") for n in range(100)])
    assert kinds(results) == {"Layer": 30, "LayersFull": 70}
    assert Layer.objects.filter(owner=alice).count() == MAX_LAYERS


def test_servers_made_and_deleted_at_once_stay_within_the_bound(
    transactional_db, alice, bob, blueprint, node, settings
):
    settings.SERVERS_PER_USER, settings.DELETED_PER_USER = 3, 4

    def cycle(number: int) -> Server:
        made = services.create_server(by=alice, name=f"s{number}", blueprint=blueprint)
        services.delete_server(by=alice, server=made)
        return made

    results = race([partial(cycle, number) for number in range(15)])
    results += race([partial(cycle, number) for number in range(15)])
    assert set(kinds(results)) == {"Server", "TooManyServers"}
    assert settings.DELETED_PER_USER <= Server.objects.count() < settings.SERVERS_PER_USER + settings.DELETED_PER_USER
    with pytest.raises(TooManyServers, match="Delete one for good under “Deleted servers”, or wait until"):
        cycle(99)
    assert services.create_server(by=bob, name="bobs", blueprint=blueprint)


def test_all_that_exists_is_one_sum(alice, server, node):
    layer = Layer.objects.create(slug="x", name="x", game="practice", kind="files", owner=alice, building_bytes=GIB)
    for digest in "ab":
        LayerBuild.objects.create(layer=layer, digest=digest * 64, size_bytes=GIB, file_count=1)
    upload(alice, GIB)
    Server.objects.update(disk_bytes=GIB)
    gone = Server.objects.create(
        name="gone", owner=alice, node=node, game="practice", console=Stream.objects.create(), disk_bytes=GIB,
        deleted_at=timezone.now(),
    )  # fmt: skip
    assert quotas.disk_use(alice).used == 6 * GIB + 2 * 4096
    gone.delete()
    assert quotas.disk_use(alice).used == 5 * GIB + 2 * 4096


def test_builds_at_once_share_what_is_left(transactional_db, alice, node, settings):
    settings.DISK_QUOTA = 20 * GIB
    layers = [make_layer(alice, name=f"Layer {n}") for n in range(4)]

    def take(layer: Layer) -> int:
        held = quotas.reserved(layer, 16 * GIB)
        room = held.__enter__()
        kept.append(held)
        return room

    kept: list = []
    results = race([partial(take, layer) for layer in layers])
    assert sorted(result for result in results if isinstance(result, int)) == [4 * GIB, 16 * GIB]
    assert kinds(results) == {"int": 2, "DiskLimit": 2}
    for held in kept:
        held.__exit__(None, None, None)
    assert quotas.disk_use(alice).used == 0


def test_what_a_killed_build_reserved_is_free_again_once_it_is_cleaned_up(alice, node):
    layer = make_layer(alice)
    Layer.objects.update(building_bytes=GIB)
    stack.partial_folder(layer.pk).with_name(f".partial-{layer.pk}.moved").mkdir(parents=True)
    assert services.request_cleaning(node=node) is None, "its job is still to come"
    Job.objects.update(state="lost", finished_at=timezone.now())
    job = services.request_cleaning(node=node)
    clean(Run(job.pk))
    layer.refresh_from_db()
    assert (layer.building_bytes, list((stack.partial_folder(1).parent).glob(".partial*"))) == (0, [])


def test_unpacking_ends_at_what_is_left(alice, node, settings, tmp_path):
    settings.DISK_QUOTA = 6 * MIB
    packed = zipped({f"{n}.txt": bytes(MIB) for n in range(8)})
    up = upload(alice, len(packed))
    services.continue_upload(upload=up, offset=0, piece=packed)
    services.finish_upload(upload=up, sha256=hashlib.sha256(packed).hexdigest())
    layer = make_layer(alice, kind="archive", source={}, upload=str(up.pk))
    with pytest.raises(Exception, match=r"“5.txt”: it would be more than the 6.0 MB of disk that are left"):
        build(run_of(layer), layer, str(up.pk))
    assert not list((tmp_path / "layers").glob(".partial*"))
    layer.refresh_from_db()
    assert layer.building_bytes == 0
    settings.DISK_QUOTA = 30 * MIB
    build(run_of(layer), layer, str(up.pk))
    layer.refresh_from_db()
    assert layer.build.size_bytes == 8 * MIB


def test_many_empty_files_take_room_too(alice, node, settings):
    settings.DISK_QUOTA = 40 * 4096
    layer = make_layer(alice, source={"files": {f"{n}.txt": "" for n in range(100)}})
    with pytest.raises(Exception, match="it would be more than"):
        build(run_of(layer), layer, "")


def test_beyond_the_reserve_nothing_is_begun_and_a_moderators_word_raises_the_limit(alice, mod, server, node):
    layer = make_layer(alice)
    Server.objects.update(disk_bytes=9 * GIB)
    for refused in (
        lambda: upload(alice),
        lambda: services.build_layer(by=alice, layer=layer),
        lambda: services.start_server(by=alice, server=server),
        lambda: services.restart_server(by=alice, server=server),
        lambda: services.clone_server(by=alice, server=server, name="copy"),
    ):
        with pytest.raises(DiskLimit, match=r"alice uses 9.0 GB of 8.0 GB of disk.*moderator"):
            refused()
    assert services.stop_server(by=alice, server=server)
    people.set_disk_quota(by=mod, user=alice, disk_quota_mib=20 * 1024)
    assert upload(alice)
    alice.refresh_from_db()
    layer.refresh_from_db()
    assert services.build_layer(by=alice, layer=Layer.objects.get())
    assert services.start_server(by=alice, server=server)


def test_staff_have_no_limit_but_one_they_were_given(mod):
    upload(mod, 2 * GIB)
    mod.disk_quota_mib = 1
    mod.save()
    with pytest.raises(DiskLimit):
        upload(mod)


def test_what_was_counted_last_is_noted(alice, server):
    Server.objects.update(disk_bytes=7 * GIB)
    assert quotas.note_use(alice.pk).is_near
    alice.refresh_from_db()
    assert "7.0 GB of 8.0 GB of disk are used" in last_known(alice).sentence
    Server.objects.update(disk_bytes=0)
    quotas.note_use(alice.pk)
    alice.refresh_from_db()
    assert last_known(alice).sentence == ""


def test_unused_downloads_are_kept_up_to_a_bound(settings):
    settings.WORKSHOP_KEPT = 250
    workshop.cache_folder().mkdir()
    for n in range(4):
        path = workshop.cache_folder() / f"{n}-1.vpk"
        path.write_bytes(bytes(100))
        os.utime(path, (timezone.now().timestamp() - n, timezone.now().timestamp() - n))
    (workshop.cache_folder() / "in-use").hardlink_to(workshop.cache_folder() / "3-1.vpk")
    assert sorted(path.name for path in workshop.unused_downloads()) == ["2-1.vpk"]


def test_an_upload_can_be_given_up_by_its_owner_alone(client: Client, alice, bob):
    up = upload(alice)
    client.force_login(bob)
    assert client.delete(f"/uploads/{up.pk}/").status_code == 404
    client.force_login(alice)
    assert "a.zip" in client.get("/layers/").content.decode()
    assert client.delete(f"/uploads/{up.pk}/").status_code == 204
    assert not Upload.objects.exists()
    assert not uploads.place_of(up).exists()
