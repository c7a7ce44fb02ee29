"""Layers that a script makes: who may write one, what its build is, and what becomes of one that is broken off."""

import os
import signal
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from jobs.models import Job
from jobs.services import cancel, retry
from portal.models import User
from servers import access, services
from servers.layers import stack
from servers.models import AuditEvent, Layer, StackEntry
from tests.api import Api
from tests.servers.living import lines_of, settled
from tests.servers.test_layers_build import built, left_on_disk
from tests.servers.test_script_sandbox import run_by
from tests.stack import Stack, wait_for

FORM = {"name": "Plugins", "game": "practice", "visibility": "public", "script": "echo a\r\necho b > f"}


@pytest.fixture
def plain_mod(db: None) -> User:
    """Moderates and is no administrator."""
    return User.objects.create_user("plain-mod", is_staff=True)


def make_layer(by: User, script: str, *, name: str = "Plugins", network: bool = False) -> Layer:
    source = {"script": script, "network": network}
    return services.create_layer(by=by, name=name, game="practice", kind="script", visibility="public", source=source)


def test_an_administrator_writes_a_script_which_is_noted(client: Client, mod: User):
    client.force_login(mod)
    page = client.get("/new-layer/?kind=script").content.decode()
    assert 'data-editor="shell"' in page
    assert client.post("/new-layer/?kind=script", FORM | {"network": "on"}).headers["Location"] == "/layers/plugins/"
    made = Layer.objects.get()
    assert made.source == {"script": "echo a\necho b > f", "network": True}
    assert Job.objects.get().subject == made.topic
    client.post("/layers/plugins/script/", {"script": "echo c > f"})
    made.refresh_from_db()
    assert made.source == {"script": "echo c > f", "network": False}
    first, second = AuditEvent.objects.filter(action="script").order_by("pk")
    assert first.detail == {"layer": "plugins", "script": "echo a\necho b > f", "network": True}
    assert (second.actor, second.detail["script"]) == (mod, "echo c > f")


def test_what_is_no_script_is_told_and_nothing_typed_is_lost(client: Client, mod: User):
    client.force_login(mod)
    answer = client.post("/new-layer/?kind=script", FORM | {"name": ""})
    assert answer.status_code == 422
    assert "echo b &gt; f" in answer.content.decode()
    client.post("/new-layer/?kind=script", FORM)
    answer = client.post("/layers/plugins/script/", {"script": "x" * (64 << 10) + "y"})
    assert answer.status_code == 422
    assert "at most 65536 characters" in answer.content.decode()
    assert Layer.objects.get().source["script"] == "echo a\necho b > f"


def test_nobody_but_administrators_writes_builds_changes_or_deletes_one(
    client: Client, alice: User, charlie: User, plain_mod: User, mod: User
):
    made = make_layer(mod, "echo x > f")
    job = Job.objects.get()
    User.objects.filter(pk=charlie.pk).update(suspended_at=timezone.now())
    # Alice was an administrator once: the layer is hers, and no power over it.
    Layer.objects.update(owner=alice)
    changes = ["change", "rebuild", "delete", "script"]
    for user, status in ((None, 302), (charlie, 302), (alice, 403), (plain_mod, 403)):
        client.logout()
        if user:
            client.force_login(user)
        assert client.get("/new-layer/?kind=script").status_code == status
        assert client.post("/new-layer/?kind=script", FORM).status_code == status
        for verb in changes:
            answer = client.post(f"/layers/plugins/{verb}/", FORM)
            assert answer.status_code == status, (user, verb)
            assert status == 403 or answer.headers["Location"].startswith("/accounts/login/")
        for verb in ("cancel", "retry"):
            assert client.post(f"/jobs/{job.pk}/{verb}/").status_code == status
    for user in (alice, plain_mod):
        assert Api(user)("post", "/layers/plugins/build").status_code == 403
        assert not access.FeedPolicy.may_cancel_job(user, job)
    assert Layer.objects.get().source == made.source
    assert Job.objects.count() == 1
    assert access.FeedPolicy.may_cancel_job(mod, job)


def test_whoever_may_use_it_sees_that_it_is_one_and_its_log_but_not_the_script(
    client: Client, alice: User, bob: User, mod: User, server
):
    made = make_layer(mod, "echo secret-token")
    client.force_login(alice)
    page = client.get("/layers/plugins/").content.decode()
    assert "<dt>Made from</dt><dd>Script</dd>" in page
    assert "secret-token" not in page
    assert "Save and build" not in page
    assert "?kind=script" not in client.get("/new-layer/").content.decode()
    job = Job.objects.get()
    assert client.get(f"/jobs/{job.pk}/").status_code == 200
    assert access.FeedPolicy.may_view_stream(alice, job.stream_id)
    assert client.post(f"/servers/{server.name}/layers/add/", {"layer": "plugins"}).status_code == 302
    assert StackEntry.objects.get().layer == made
    Layer.objects.update(visibility="private")
    client.force_login(bob)
    assert client.get("/layers/plugins/").status_code == 404
    assert client.get(f"/jobs/{job.pk}/").status_code == 404


def test_a_script_of_another_kind_of_layer_is_not_there(client: Client, mod: User):
    source = {"files": {"motd": "x"}}
    services.create_layer(by=mod, name="Files", game="practice", kind="files", visibility="private", source=source)
    client.force_login(mod)
    assert client.post("/layers/files/script/", {"script": "echo x > f"}).status_code == 404


def test_what_a_script_leaves_is_a_build_like_any_other(portal: Stack, alice: User, mod: User):
    portal.start("cluster")
    script = "echo getting it; mkdir -p practice; echo -n same > practice/motd; chmod 0 practice"
    one = make_layer(mod, script)
    first = built(one)
    lines = lines_of(Job.objects.about(one.topic).first().stream_id)
    assert lines[:2] == ["Running the script, without the network.", "getting it"]
    assert [file.path for file in first.files.all()] == ["practice/motd"]
    path = stack.folder(first.digest) / "practice/motd"
    assert path.read_text() == "same"
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o644)
    other = services.create_layer(
        by=alice, name="By hand", game="practice", kind="files", visibility="private",
        source={"files": {"practice/motd": "same"}},
    )  # fmt: skip
    assert built(other).digest == first.digest
    assert built_again(one).digest == first.digest
    assert left_on_disk() == {first.digest}
    assert left_of_scripts() == []


def built_again(layer: Layer):
    services.build_layer(by=None, layer=layer)
    return built(layer)


def left_of_scripts() -> list[str]:
    return os.listdir(django_settings.STATE_DIR / "builds")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo x > a; mkdir b; ln -s ../a b/link", "“b/link” is a link or a device. Leave only files and folders."),
        ("ln -s /etc folder", "“folder” is a link or a device. Leave only files and folders."),
        ("mkfifo pipe", "“pipe” is a link or a device. Leave only files and folders."),
        ("echo x > Motd; echo y > motd", "is there twice"),
        ("echo x > .wh.motd", "means a deleted file"),
        ("mkdir -p $(printf 'd/%.0s' $(seq 40))", "has a name that is too long"),
        ("true", "There is no file in it."),
        ("echo before; exit 9", "The script ended with code 9. The lines above say why."),
    ],
    ids=["link", "folder link", "pipe", "case", "whiteout", "deep", "nothing", "failed"],
)
def test_what_may_not_be_in_a_layer_is_named_and_nothing_is_left(portal: Stack, mod: User, script: str, sentence: str):
    portal.start("cluster")
    layer = make_layer(mod, script)
    job = Job.objects.get()
    assert settled(job) == "failed"
    assert sentence in job.error
    layer.refresh_from_db()
    assert layer.build is None
    assert left_on_disk() == set()
    assert left_of_scripts() == []


def test_a_cancelled_build_ends_its_script(portal: Stack, mod: User):
    portal.start("cluster")
    make_layer(mod, "echo begun; sleep 654321")
    job = Job.objects.get()
    wait_for(lambda: "begun" in lines_of(job.stream_id), what="the script's output")
    wait_for(lambda: run_by("654321"), what="its command")
    cancel(job=job, by=mod)
    assert settled(job) == "cancelled"
    assert not run_by("654321")
    assert left_on_disk() == set()
    assert left_of_scripts() == []


def test_a_killed_worker_takes_its_script_along_and_the_build_can_be_tried_again(portal: Stack, mod: User):
    portal.start("cluster")
    layer = make_layer(mod, "echo begun; touch left-over; test -e /tmp/x || sleep 543210")
    job = Job.objects.get()
    wait_for(lambda: "begun" in lines_of(job.stream_id), what="the script's output")
    [script] = wait_for(lambda: run_by("543210"), what="its command")
    worker = worker_of(int(script))
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not run_by("543210"), seconds=5, what="the end of the script")
    assert time.monotonic() - began < 5
    assert settled(job, seconds=60) == "lost"
    Layer.objects.filter(pk=layer.pk).update(source={"script": "ls > files", "network": False})
    again = retry(job=job, by=mod)
    assert settled(again) == "succeeded", again.error
    layer.refresh_from_db()
    assert (stack.folder(layer.build.digest) / "files").read_text() == "files\n", "its folder was empty"


def test_what_a_killed_worker_left_is_cleared_a_day_later(portal: Stack, mod: User, node):
    portal.start("cluster")
    for name, age in (("3", 25), ("4", 1)):
        folder = django_settings.STATE_DIR / "builds" / name
        (folder / "layer").mkdir(parents=True)
        os.utime(folder, (time.time() - age * 3600,) * 2)
    job = services.request_cleaning(node=node)
    assert settled(job) == "succeeded", job.error
    assert left_of_scripts() == ["4"]
    assert services.request_cleaning(node=node) is None


def worker_of(pid: int) -> int:
    """The process of the cluster above it."""
    while "manage.py" not in Path(f"/proc/{pid}/cmdline").read_text():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid
