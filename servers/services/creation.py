"""Making servers: name, settings, ports and secrets, all in one transaction, so that nothing is ever half-made."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.db import IntegrityError, transaction

from jobs.models import Job, Stream
from jobs.services import enqueue
from servers import access, games, seeds
from servers.errors import FieldsChanged, NameInvalid, NameTaken, TooManyServers
from servers.models import NAME_PATTERN, TRIAL_PREFIX, Blueprint, Layer, Node, Right, Server
from servers.services.common import locked, record, tell_users, violated
from servers.services.following import own_choices
from servers.services.own_files import copy_own_files
from servers.services.ports import give_ports
from servers.services.quotas import locked_member, require_room
from servers.services.stacks import copy_stack, fill_slot

if TYPE_CHECKING:
    from portal.models import User

CONSOLE_LINES = 20_000
CLONE = "servers.clone"


def create_server(
    *,
    by: "User",
    name: str,
    blueprint: Blueprint,
    settings: Mapping[str, Any] | None = None,
    node: Node | None = None,
    follow: bool = False,
    slots: Mapping[str, Layer] | None = None,
) -> Server:
    """Make a stopped server of `by`'s from a blueprint; `settings` go over the blueprint's. `follow`: later changes of
    the blueprint reach it too, where `settings` say nothing else. `slots`: what goes into its empty slots.

    Raises `NameInvalid`, `NameTaken`, `TooManyServers`, `NoFreePort`, `LayerInvalid`, `servers.games.SettingsError`,
    `UnknownGame`.
    """
    game = games.get(blueprint.game)
    chosen = game.clean_settings({**blueprint.settings, **(settings or {})})
    with _room_for(by):
        made = _make(
            by=by, name=name, game=game, blueprint=blueprint, node=node or seeds.ensure_node(), follow=follow,
            settings=own_choices(game, blueprint, chosen) if follow else chosen,
        )  # fmt: skip
        copy_stack(source=blueprint, server=made)
        for slot, layer in (slots or {}).items():
            fill_slot(by=by, holder=made, slot=slot, layer=layer)
    return made


def clone_server(*, by: "User", server: Server, name: str) -> tuple[Server, Job]:
    """A server of `by`'s with the settings, layers and files written by hand of `server`; the job copies what the
    game wrote. Neither secrets nor members are copied.

    Raises as `create_server` does, `ServerGone`, `DiskLimit`, and as `access.require` does for who may not see all of
    that.
    """
    with _room_for(by) as owner, locked(server) as source:
        access.require(by, source, Right.SETTINGS)
        access.require(by, source, Right.FILES)
        require_room(owner, source.disk_bytes)
        game = games.get(source.game)
        made = _make(
            by=by, name=name, game=game, blueprint=source.blueprint, follow=source.follows_blueprint,
            settings=game.clean_settings(source.settings), node=source.node,
        )  # fmt: skip
        Server.objects.filter(pk=made.pk).update(disk_bytes=source.disk_bytes)  # until the job has measured it
        copy_stack(source=source, server=made)
        copy_own_files(source=source, server=made)
        job = enqueue(
            kind=CLONE,
            subject=made.topic,
            title=f"Copy {source.name} to {made.name}",
            args={"server": made.pk, "source": source.pk},
            node=made.node.slug,
            requested_by=by,
        )
    return made, job


def reserve_copy(*, server: Server, source: Server) -> None:
    """The job's, about to copy: there may be more by now than when the copy was asked for. Raises `DiskLimit`."""
    with locked_member(server.owner) as owner:
        size = Server.objects.values_list("disk_bytes", flat=True).get(pk=source.pk)
        Server.objects.filter(pk=server.pk).update(disk_bytes=0)
        require_room(owner, size)
        Server.objects.filter(pk=server.pk).update(disk_bytes=size)


def update_settings(*, by: "User", server: Server, settings: Mapping[str, Any]) -> Server:
    """Replace the chosen settings; they hold from the next start. Where the server follows a blueprint, what that says
    anyway is not noted. Raises `SettingsError`, `ServerGone`."""
    with locked(server) as fresh:
        game = games.get(fresh.game)
        before, after = fresh.chosen, game.clean_settings(settings)
        follows = fresh.blueprint if fresh.follows_blueprint else None
        fresh.settings = own_choices(game, follows, after) if follows else after
        fresh.save(update_fields=["settings"])
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        record(by, fresh, "settings", changed=changed)
    return fresh


def change_settings(
    *, by: "User", server: Server, changes: Mapping[str, Any], seen: Mapping[str, Any] | None = None
) -> Server:
    """Change only the settings given; None takes a choice back. `seen`: what they were as they were shown. Raises as
    `update_settings` does, and `FieldsChanged` with the keys that are neither that nor the new value by now."""
    with locked(server) as fresh:  # two at once must not undo each other
        now = games.get(fresh.game).default_settings() | fresh.chosen
        others = [key for key, value in (seen or {}).items() if now.get(key) not in (value, changes.get(key))]
        if others:
            raise FieldsChanged(others)
        values = {key: value for key, value in (fresh.chosen | dict(changes)).items() if value is not None}
        return update_settings(by=by, server=fresh, settings=values)


def _make(
    *,
    by: "User",
    name: str,
    game: "games.Game",
    blueprint: Blueprint | None,
    settings: dict[str, Any],
    node: Node,
    follow: bool,
) -> Server:
    check_name(name)
    made = Server(
        name=name, owner=by, node=node, blueprint=blueprint, game=game.slug, settings=settings,
        follows_blueprint=follow,
        secrets=game.complete_secrets({}), console=Stream.objects.create(keep=CONSOLE_LINES),
    )  # fmt: skip
    save_named(made)
    give_ports(made, game)
    record(by, made, "create", game=game.slug)
    tell_users(by)
    return made


def check_name(name: str) -> None:
    """Raise `NameInvalid` with what to mend."""
    if not name:
        raise NameInvalid("Give the server a name.")
    if len(name) > 32:
        raise NameInvalid(f"The name has {len(name)} characters. Use 32 at most.")
    if strange := sorted(set(re.findall(r"[^a-z0-9-]", name))):
        shown = " ".join(f"“{character}”" for character in strange[:5] if character.isprintable())
        raise NameInvalid(f"Use small letters a to z, digits and hyphens only, not {shown or 'control characters'}.")
    if not re.fullmatch(NAME_PATTERN.strip("^$"), name):
        raise NameInvalid("Begin and end the name with a letter or a digit, not with a hyphen.")
    if name.startswith(TRIAL_PREFIX):
        raise NameInvalid(f"Names that begin with “{TRIAL_PREFIX}” are the portal's own. Choose another one.")


def save_named(server: Server) -> None:
    """Save a server whose name another may have taken at this moment: the constraint decides. Raises `NameTaken`."""
    try:
        with transaction.atomic():
            server.save()
    except IntegrityError as error:
        if violated(error) != "server_name_taken":
            raise
        raise NameTaken(server.name) from error


@contextmanager
def _room_for(by: "User") -> Iterator["User"]:
    """A transaction in which `by` may have one more server. Raises `TooManyServers`."""
    with locked_member(by) as owner:
        limit: int = django_settings.SERVERS_PER_USER
        if not owner.is_staff and Server.objects.present().filter(owner=owner).count() >= limit:
            raise TooManyServers(f"You have {limit} servers, as many as a member may have. Delete one first.")
        deleted = Server.objects.kept_for(owner)
        if not owner.is_staff and deleted and len(deleted) >= django_settings.DELETED_PER_USER:
            raise TooManyServers(
                f"{len(deleted)} deleted servers of yours are still kept, as many as may be. Delete one for good under "
                f"“Deleted servers”, or wait until {deleted[0].kept_until:%-d %B}, when the oldest goes."
            )
        yield owner
