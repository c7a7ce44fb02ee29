"""What changes people: invitations that let them in, suspension that keeps them out. Views and admin call these."""

import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from jobs import events
from jobs.models import Job
from portal import tokens
from portal.models import Invitation, User
from portal.tokens import digest_of
from servers.errors import FieldsChanged
from servers.models import AuditEvent
from servers.services import note_use, stop_servers_of

LONGEST_INVITATION_DAYS = 30


class InvitationError(Exception):
    """An invitation lets nobody in; the text says which and what to do."""


class NameTaken(Exception):
    """Somebody has that name, in whatever case."""


class SuspensionError(Exception):
    """That user cannot be suspended or reinstated; the text says why."""


class RoleError(Exception):
    """That user's role or password is not for whoever asked to change; the text says why."""


def create_invitation(*, by: User, note: str, days: int) -> tuple[Invitation, str]:
    """Make a single-use invitation valid for `days`; returns it and its secret, which is kept nowhere."""
    if not 1 <= days <= LONGEST_INVITATION_DAYS:
        raise InvitationError(f"An invitation is valid for 1 to {LONGEST_INVITATION_DAYS} days.")
    secret = secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(days=days)
    made = Invitation.objects.create(digest=digest_of(secret), note=note, created_by=by, expires_at=expires_at)
    return made, secret


def revoke_invitation(*, invitation: Invitation) -> None:
    """Refuse the link from now on. Raises `InvitationError` when it was used or revoked already."""
    unused = Invitation.objects.filter(pk=invitation.pk, used_at=None, revoked_at=None)
    if not unused.update(revoked_at=timezone.now()):
        raise InvitationError(f"“{invitation}” was used or revoked before.")


def open_invitation(*, secret: str, lock: bool = False) -> Invitation:
    """The invitation a link stands for. Raises `InvitationError` when it lets nobody in (any more)."""
    rows = Invitation.objects.select_for_update() if lock else Invitation.objects.all()
    invitation = rows.filter(digest=digest_of(secret)).first()
    if invitation is None:
        raise InvitationError("This is not an invitation of ours. Check that the whole link was copied.")
    if invitation.used_at:
        raise InvitationError("This invitation has been used. If it was by you, sign in; if not, ask for a new one.")
    if invitation.revoked_at:
        raise InvitationError("This invitation was withdrawn. Ask whoever sent it for a new one.")
    if not invitation.is_open:
        raise InvitationError("This invitation has expired. Ask whoever sent it for a new one.")
    return invitation


def accept_invitation(*, secret: str, username: str, password: str) -> User:
    """Make the newcomer's account. Raises `InvitationError` or `NameTaken`, and then nothing is made.

    The row lock is what makes the link single-use: of two newcomers at once the second waits and finds it used.
    """
    try:
        with transaction.atomic():
            invitation = open_invitation(secret=secret, lock=True)
            user = User.objects.create_user(username, password=password)
            Invitation.objects.filter(pk=invitation.pk).update(used_at=timezone.now(), used_by=user)
    except IntegrityError as error:
        raise NameTaken("That name is taken. Choose another.") from error
    return user


def suspend_user(*, by: User, user: User, reason: str) -> list[Job]:
    """Keep `user` out: sessions end for good, tokens and sockets are refused, their servers stop.

    Returns the jobs that stop the servers. Raises `SuspensionError`.
    """
    with transaction.atomic():
        _refuse_suspension(by, user)
        done = User.objects.filter(pk=user.pk, suspended_at=None).update(
            suspended_at=timezone.now(),
            suspended_reason=reason,
            session_generation=F("session_generation") + 1,
        )
        if not done:
            raise SuspensionError(f"{user} is suspended already.")
        AuditEvent.objects.create(actor=by, action="suspend", detail={"user": user.username, "reason": reason})
        events.publish(f"access:user:{user.pk}")
        return stop_servers_of(by=by, owner=user)


def reinstate_user(*, by: User, user: User) -> None:
    """Let `user` in again; their servers stay stopped until somebody starts them. Raises `SuspensionError`."""
    with transaction.atomic():
        _refuse_over_staff(by, user, _lock_administrators(), SuspensionError, f"reinstate {user}")
        suspended = User.objects.filter(pk=user.pk, suspended_at__isnull=False)
        if not suspended.update(suspended_at=None, suspended_reason=""):
            raise SuspensionError(f"{user} is not suspended.")
        AuditEvent.objects.create(actor=by, action="reinstate", detail={"user": user.username})


def change_role(*, by: User, user: User, is_staff: bool | None = None, is_superuser: bool | None = None) -> None:
    """Make `user` a moderator or an administrator, or neither any more; None: as they are. Raises `RoleError`."""
    if user.pk == by.pk:
        raise RoleError("You cannot change your own role. Ask another administrator.")
    with transaction.atomic():
        if by.pk not in _lock_administrators():
            raise RoleError("Only an administrator may change who moderates.")
        now = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        is_superuser = now.is_superuser if is_superuser is None else is_superuser
        is_staff = now.is_staff if is_staff is None else is_staff
        # An administrator moderates too: Django's admin asks for is_staff alone.
        User.objects.filter(pk=user.pk).update(is_staff=is_staff or is_superuser, is_superuser=is_superuser)
        role = "administrator" if is_superuser else "moderator" if is_staff else "member"
        AuditEvent.objects.create(actor=by, action="role", detail={"user": user.username, "role": role})
        events.publish(f"access:user:{user.pk}", f"user:{user.pk}")


def reset_password(*, by: User, user: User) -> str:
    """Give `user` a made-up password, end their sessions and revoke their tokens; returns it, for `by` to pass on.
    Raises `RoleError`.

    Members need no e-mail address, so this is the way back for who forgot theirs.
    """
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        _refuse_over_staff(by, user, _lock_administrators(), RoleError, f"reset the password of {user}")
        user.set_password(password)
        user.save(update_fields=["password"])
        count = tokens.revoke_tokens(user=user)  # tells the sockets
        AuditEvent.objects.create(actor=by, action="password", detail={"user": user.username, "tokens": count})
    return password


def revoke_tokens(*, by: User, user: User) -> int:
    """Revoke all of `user`'s tokens, which may be in somebody else's hands; returns how many. Raises `RoleError`."""
    with transaction.atomic():
        _refuse_over_staff(by, user, _lock_administrators(), RoleError, f"revoke the tokens of {user}")
        count = tokens.revoke_tokens(user=user)
        AuditEvent.objects.create(actor=by, action="revoke tokens", detail={"user": user.username, "tokens": count})
    return count


def set_steam_id(*, user: User, steam_id: int | None, seen: int | None) -> None:
    """Note which Steam account is theirs; servers they have a say on take it up at their next start. `seen`: what it
    was as it was shown. Raises `FieldsChanged` when it is neither that nor `steam_id` by now."""
    with transaction.atomic():
        now = User.objects.select_for_update(no_key=True).values_list("steam_id", flat=True).get(pk=user.pk)
        if now not in (seen, steam_id):
            raise FieldsChanged(["steam_id"])
        User.objects.filter(pk=user.pk).update(steam_id=steam_id)
        AuditEvent.objects.create(actor=user, action="steam id", detail={"user": user.username, "steam_id": steam_id})


def set_disk_quota(*, by: User, user: User, disk_quota_mib: int | None) -> None:
    """What `user` may have on disk; None: what the portal gives everybody. Raises `RoleError`."""
    with transaction.atomic():
        _refuse_over_staff(by, user, _lock_administrators(), RoleError, f"change the disk limit of {user}")
        User.objects.filter(pk=user.pk).update(disk_quota_mib=disk_quota_mib)
        detail = {"user": user.username, "disk_quota_mib": disk_quota_mib}
        AuditEvent.objects.create(actor=by, action="disk limit", detail=detail)
    note_use(user.pk)


def _lock_administrators() -> set[int]:
    """Who is one now, all locked, so that two cannot suspend or demote each other at once and leave none.

    `no_key`, since whatever an administrator does meanwhile refers to their row in the audit trail.
    """
    locked = User.objects.select_for_update(no_key=True).filter(is_superuser=True).order_by("pk")
    return {administrator.pk for administrator in locked if administrator.may_enter}


def _refuse_suspension(by: User, user: User) -> None:
    if user.pk == by.pk:
        raise SuspensionError("You cannot suspend yourself. Ask another moderator.")
    administrators = _lock_administrators()
    _refuse_over_staff(by, user, administrators, SuspensionError, f"suspend {user}")
    if administrators == {user.pk}:
        raise SuspensionError(f"{user} is the only administrator left. Make somebody else one first.")


def _refuse_over_staff(by: User, user: User, administrators: set[int], error: type[Exception], what: str) -> None:
    """By what both are now: since the page was opened either may have been given another role."""
    moderates = User.objects.select_for_update(no_key=True).values_list("is_staff", flat=True).get(pk=user.pk)
    if moderates and by.pk not in administrators:
        raise error(f"Only an administrator may {what}, who moderates.")
