"""Whose a server is and who else may do what with it. Taking a right away closes that person's sockets."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import transaction

from jobs import events
from servers import access
from servers.errors import CannotShare, CannotTransfer, RightsChanged
from servers.models import Membership, Right, Server
from servers.services.common import locked, record, tell_users

if TYPE_CHECKING:
    from portal.models import User


def share_server(
    *, by: "User", server: Server, user: "User", rights: Iterable[str], was: Collection[str] | None = None
) -> Membership:
    """Give `user` exactly `rights` (the right to view comes with any). `was`: the rights that were seen, None to
    replace whatever they are. Raises `CannotShare`, `RightsChanged`, `ServerGone`, and as `access.require` does for who
    may not manage members.

    Nobody gives or takes a right they lack themselves.
    """
    chosen = {Right.VIEW, *(Right(right) for right in rights)}
    with _locked_with(server, user) as (fresh, user):
        access.require(by, fresh, Right.MEMBERS)
        if user.pk == fresh.owner_id:
            raise CannotShare(f"{user} owns {fresh.name} and may do everything already.")
        if not user.may_enter:
            raise CannotShare(f"{user} is suspended. Ask a moderator to reinstate them first.")
        held = _held(user, fresh)
        if was is not None and held not in (set(was), chosen):
            raise RightsChanged(str(user), sorted(held - {Right.VIEW}) if held else None)
        _refuse_beyond(by, fresh, chosen ^ held)
        membership, _ = Membership.objects.update_or_create(
            user=user, server=fresh, defaults={"rights": sorted(chosen)}
        )
        _rights_changed(by, fresh, user, "share", chosen, taken=bool(held - chosen))
    return membership


def unshare_server(*, by: "User", server: Server, user: "User") -> None:
    """Take all of `user`'s rights; anybody may leave by themselves. Raises as `share_server` does."""
    with locked(server) as fresh:
        if by.pk != user.pk:
            access.require(by, fresh, Right.MEMBERS)
            _refuse_beyond(by, fresh, _held(user, fresh))
        Membership.objects.filter(user=user, server=fresh).delete()
        _rights_changed(by, fresh, user, "unshare", set(), taken=True)


def transfer_server(*, by: "User", server: Server, to: "User") -> Server:
    """Make `to` the owner; the former owner keeps no right. Raises `CannotTransfer`, `ServerGone`."""
    with _locked_with(server, to) as (fresh, to):
        if to.pk == fresh.owner_id:
            raise CannotTransfer(f"{to} owns {fresh.name} already.")
        if not to.may_enter:
            raise CannotTransfer(f"{to} is suspended. Choose somebody else, or ask a moderator to reinstate them.")
        former = fresh.owner
        Membership.objects.filter(user=to, server=fresh).delete()
        fresh.owner = to
        fresh.save(update_fields=["owner"])
        record(by, fresh, "transfer", former=str(former), to=str(to))
        tell_users(former, to)
        events.publish(f"access:user:{former.pk}")
    return fresh


@contextmanager
def _locked_with(server: Server, user: "User") -> Iterator[tuple[Server, "User"]]:
    """`locked`, and before it the row of who receives: in the order of a suspension, which then stops their servers."""
    with transaction.atomic():
        receiving = get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
        with locked(server) as fresh:
            yield fresh, receiving


def _held(user: "User", server: Server) -> set[Right]:
    rights = Membership.objects.filter(user=user, server=server).values_list("rights", flat=True).first()
    return {Right(right) for right in rights or []}


def _refuse_beyond(by: "User", server: Server, changed: set[Right]) -> None:
    if lacking := changed - access.rights(by, server):
        names = ", ".join(sorted(right.label.lower() for right in lacking))
        raise CannotShare(f"You may only give or take rights that you have yourself. You lack: {names}.")


def _rights_changed(by: "User", server: Server, user: "User", action: str, rights: set[Right], *, taken: bool) -> None:
    record(by, server, action, user=str(user), rights=sorted(rights))
    tell_users(user)
    if taken:
        events.publish(f"access:user:{user.pk}")
