"""Layers: made, rebuilt, shared and deleted. A job makes the files; servers move to a new build at their next start."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from jobs import events
from jobs.models import Job
from jobs.services import enqueue
from servers import games, seeds
from servers.errors import (
    DiskLimit,
    FieldsChanged,
    FileChanged,
    LayerGone,
    LayerInUse,
    LayerInvalid,
    LayersFull,
    UploadGone,
)
from servers.layers import lint
from servers.layers.writer import Refused, checked
from servers.models import AuditEvent, Layer, LayerBuild, LayerFile, Server, StackEntry, Upload
from servers.own_file_models import version_of
from servers.services.common import violated
from servers.services.quotas import locked_member, note_use, refuse_beyond

if TYPE_CHECKING:
    from portal.models import User
    from servers.layers.content import Content

BUILD = "layers.build"
TIME_LIMIT = 4 * 3600
KEPT_BUILDS = 3
ATTEMPTS = 100  # to find a free slug
BATCH = 2000  # rows of files in one statement
REFRESH_EVERY, REFRESHED_AT_ONCE = timedelta(days=1), 20
MOST_FILES, MOST_TEXT = 200, 1 << 20  # of a layer that is written in the browser: files, bytes
MAX_LAYERS = 200  # of one member


def create_layer(
    *,
    by: "User",
    name: str,
    game: str,
    kind: str,
    visibility: str,
    source: Mapping[str, Any],
    upload: UUID | None = None,
) -> Layer:
    """Make a layer of `by`'s and ask for its first build.

    Raises `LayerInvalid`, `LayersFull`, `DiskLimit`, `UnknownGame`.
    """
    games.get(game)
    if kind == Layer.Kind.FILES:
        check_files(source["files"])
    with locked_member(by) as owner:
        if not owner.is_staff and Layer.objects.filter(owner=owner).count() >= MAX_LAYERS:
            raise LayersFull(f"You have {MAX_LAYERS} layers, as many as a member may have. Delete one first.")
        layer = Layer(name=name, game=game, kind=kind, owner=by, visibility=visibility, source=dict(source))
        _save_with_free_slug(layer)
        if kind == Layer.Kind.SCRIPT:
            _record_script(by, layer)
        build_layer(by=by, layer=layer, upload=upload)
        note_use(owner.pk)
        events.publish(f"user:{by.pk}")
    return layer


def build_layer(*, by: "User | None", layer: Layer, upload: UUID | None = None, is_changed: bool = False) -> Job:
    """Ask for a new build of what the layer's source says now; of an archive, from `upload`, which `by` has uploaded.

    `is_changed`: a build under way may have read the source before, so it is not this one. Raises `LayerInvalid`,
    `DiskLimit`.
    """
    is_archive = layer.kind == Layer.Kind.ARCHIVE
    with transaction.atomic():
        refuse_beyond(layer.owner_id, by=by)
        if is_archive:
            _hand_over(by, layer, upload)
        return enqueue(
            kind=BUILD,
            subject=layer.topic,
            title=f"Build {layer.name}",
            args={"layer": layer.pk, "upload": str(upload) if is_archive else ""},
            node=seeds.ensure_node().slug,
            requested_by=by,
            coalesce=True,
            join=() if is_changed else Job.ACTIVE,
            time_limit=TIME_LIMIT,
        )


def _hand_over(by: "User | None", layer: Layer, upload: UUID | None) -> None:
    """Make a finished upload of `by`'s the layer's owner's: a build uses up that person's uploads and nobody else's."""
    if not upload:
        raise LayerInvalid("Upload a file first: an archive is built from one.")
    whole = Upload.objects.filter(pk=upload, owner=by).exclude(sha256="")
    if not whole.update(owner=layer.owner_id, touched_at=timezone.now()):
        raise UploadGone


def change_source(*, by: "User", layer: Layer, source: Mapping[str, Any], was: str | None = None) -> Job:
    """Replace what the layer is made from and ask for a build. `was`: the version of its source that was seen, None to
    replace whatever is there. Raises `FileChanged`, `LayerGone`."""
    with transaction.atomic():
        fresh = _locked(layer)
        if was not in (None, fresh.source_version):
            raise FileChanged(f"What makes {fresh.name}", fresh.source_text)
        Layer.objects.filter(pk=layer.pk).update(source=dict(source))
        return build_layer(by=by, layer=layer, is_changed=True)


def change_script(*, by: "User", layer: Layer, script: str, network: bool, was: str | None = None) -> Job:
    """Replace the script that makes the layer and ask for a build. `was` and what it raises are `change_source`'s."""
    with transaction.atomic():
        layer.source = {"script": script, "network": network}
        _record_script(by, layer)
        return change_source(by=by, layer=layer, source=layer.source, was=was)


def _record_script(by: "User", layer: Layer) -> None:
    """Note who has which script run: it is the nearest thing to a shell on the machine."""
    AuditEvent.objects.create(actor=by, action="script", detail={"layer": layer.slug} | layer.source)


def write_layer_file(*, by: "User", layer: Layer, path: str, text: str | None, was: str | None = None) -> Job:
    """Write one file of a layer of the kind “files”, or with None delete it, and ask for a build. `was`: the version
    of it that was seen, "" for none, None to replace whatever is there.

    Raises `LayerInvalid`: a name or a text that does not fit, too many files or bytes. Raises `FileChanged`.
    """
    with transaction.atomic():
        fresh = _locked(layer)
        current = fresh.source.get("files", {}).get(path)
        if was not in (None, "" if current is None else version_of(current)):
            raise FileChanged(path, current)
        files = {name: known for name, known in fresh.source.get("files", {}).items() if name != path}
        if text is not None:
            files[path] = text
        check_files(files)
        return change_source(by=by, layer=fresh, source={"files": files})


def check_files(files: Mapping[str, str]) -> None:
    """Raise `LayerInvalid` with what to mend."""
    if not files:
        raise LayerInvalid("A layer needs one file at least.")
    if len(files) > MOST_FILES or sum(len(text.encode()) for text in files.values()) > MOST_TEXT:
        raise LayerInvalid(f"Up to {MOST_FILES} files and {MOST_TEXT >> 10} KB can be written here. Upload the rest.")
    for path, text in files.items():
        try:
            checked(path)
        except Refused as error:
            raise LayerInvalid(str(error)) from error
        if problem := lint.problem(path, text):
            raise LayerInvalid(f"{path}: {problem}")


def change_layer(
    *,
    layer: Layer,
    changes: Mapping[str, str],
    seen: Mapping[str, str],
    share: Iterable["User"] = (),
    unshare: Iterable[str] = (),
) -> None:
    """Give it another name or visibility, as `changes` has them where `seen` had others; let who is in `share` use it,
    and those named in `unshare` no more. Stacks that have it keep it. Raises `FieldsChanged`, `LayerGone`."""
    with transaction.atomic():
        fresh = _locked(layer)
        others = [key for key, value in seen.items() if getattr(fresh, key) not in (value, changes.get(key))]
        if others:
            raise FieldsChanged(others)
        if changes:
            Layer.objects.filter(pk=layer.pk).update(**changes)
        layer.shared_with.add(*share)
        layer.shared_with.remove(*layer.shared_with.filter(username__in=unshare))
        events.publish(layer.topic)


def delete_layer(*, layer: Layer) -> None:
    """Forget it and its builds; the cleaning job deletes files nobody has any more.

    Raises `LayerInUse`, `LayerGone`.
    """
    with locked_member(layer.owner):
        fresh = _locked(layer)
        if users := users_of(fresh):
            raise LayerInUse(fresh.name, users)
        of_deleted = StackEntry.objects.filter(layer=fresh).exclude(server__deleted_at=None)
        of_deleted.filter(slot="").delete()
        of_deleted.update(layer=None)
        fresh.delete()
        note_use(layer.owner_id)
        events.publish(layer.topic, f"user:{layer.owner_id}")


def _locked(layer: Layer) -> Layer:
    """Its row, read afresh and held until the transaction ends. Raises `LayerGone`."""
    fresh = Layer.objects.select_for_update(of=("self",)).filter(pk=layer.pk).first()
    if fresh is None:
        raise LayerGone(layer.name)
    return fresh


def users_of(layer: Layer) -> list[str]:
    """Who has it on a stack: names of servers that are not deleted, and of blueprints."""
    entries = layer.entries.filter(Q(server=None) | Q(server__deleted_at=None))
    found = entries.order_by("pk").values_list("server__name", "blueprint__name")
    return [server or f"the blueprint {blueprint}" for server, blueprint in found]


def finish_build(*, layer: Layer, content: "Content") -> LayerBuild:
    """Record a finished build and make it what servers take at their next start. Run twice, it changes nothing."""
    with transaction.atomic():
        fresh = _locked(layer)
        build, is_new = LayerBuild.objects.get_or_create(
            layer=fresh,
            digest=content.digest,
            defaults={
                "size_bytes": content.size,
                "file_count": len(content.files),
                "campaigns": content.campaigns,
                "maps": content.maps,
            },
        )
        if is_new:
            rows = (LayerFile(build=build, addon=f.addon, path=f.path, size_bytes=f.size) for f in content.all_files())
            LayerFile.objects.bulk_create(rows, batch_size=BATCH)
        Layer.objects.filter(pk=fresh.pk).update(build=build, refreshed_at=timezone.now())
        _forget_old_builds(fresh, keep=build)
        events.publish(layer.topic)
    return build


def record_items(*, layer: Layer, items: list[dict[str, str]]) -> None:
    """What a build of a Workshop layer found: the items' ids and titles, for its page."""
    with transaction.atomic():  # the source may be another by now, which that build has not seen
        fresh = Layer.objects.select_for_update(of=("self",)).get(pk=layer.pk)
        Layer.objects.filter(pk=layer.pk).update(source=fresh.source | {"items": items})


def request_refreshes() -> list[Job]:
    """Look daily whether the Workshop has newer items; a layer without any change is the same build again."""
    due = Layer.objects.filter(kind=Layer.Kind.WORKSHOP, refreshed_at__lt=timezone.now() - REFRESH_EVERY)
    jobs = []
    for layer in due[:REFRESHED_AT_ONCE]:
        Layer.objects.filter(pk=layer.pk).update(refreshed_at=timezone.now())
        with suppress(DiskLimit):
            jobs.append(build_layer(by=None, layer=layer))
    return jobs


def _forget_old_builds(layer: Layer, *, keep: LayerBuild) -> None:
    """Of former builds the newest few stay for who wants to compare, and those servers still run on."""
    former = list(layer.builds.exclude(pk=keep.pk)[KEPT_BUILDS - 1 :])
    running = Server.objects.filter(mounted__overlap=[build.digest for build in former])
    used = {digest for one in running.values_list("mounted", flat=True) for digest in one}
    LayerBuild.objects.filter(pk__in=[build.pk for build in former if build.digest not in used]).delete()


def _save_with_free_slug(layer: Layer) -> None:
    """Save a new layer, whose slug another may have taken at this moment: the constraint decides. Each try that is
    lost means that somebody else made a layer. Raises `LayersFull`."""
    for _ in range(ATTEMPTS):
        layer.slug = _free_slug(layer.name)
        try:
            with transaction.atomic():
                return layer.save(force_insert=True)
        except IntegrityError as error:
            if not violated(error).startswith("servers_layer_slug"):
                raise
    raise LayersFull("Too many layers of that name are being made at once. Try again in a moment.")


def _free_slug(name: str) -> str:
    wanted = slugify(name)[:50].strip("-") or "layer"
    taken = set(Layer.objects.filter(slug__startswith=wanted).values_list("slug", flat=True))
    return next(slug for n in range(1, len(taken) + 2) if (slug := wanted if n == 1 else f"{wanted}-{n}") not in taken)
