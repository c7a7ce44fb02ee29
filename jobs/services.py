"""What the rest of the portal asks of the engine: enqueue a job, cancel it, run it again.

Each is one transaction, or part of the caller's: if that rolls back, neither job nor queue row nor wake-up remains.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs import events, registry, streams
from jobs.errors import NotRetryable, TooManyJobs
from jobs.locks import lock_member, lock_subject
from jobs.models import Job, Stream
from jobs.transitions import deliver, end, topic

if TYPE_CHECKING:
    from portal.models import User


MOST_OF_MEMBER, MOST_WAITING = 200, 20  # unfinished jobs of one member; jobs that wait on one subject
TOGETHER = timedelta(seconds=5)  # two presses within are one, while it is under way
DOUBLE_CLICK = timedelta(seconds=1.5)  # so too when the first is done already
_QUEUE_AGE = """
SELECT extract(epoch FROM now() - min(lock)) FROM django_q_ormq
WHERE lock <= now() AND NOT (bulk AND EXISTS (SELECT FROM jobs_job WHERE state = 'running'))
"""


def enqueue(
    *,
    kind: str,
    subject: str,
    title: str,
    args: Mapping[str, Any] | None = None,
    node: str,
    requested_by: "User | None" = None,
    after: Job | None = None,
    coalesce: bool = False,
    join: Collection[Job.State] = (),
    time_limit: int | None = None,
    on_commit: Callable[[Job], None] | None = None,
    retry_of: Job | None = None,
) -> Job:
    """Ask for a job of `kind` on `subject`, run by the cluster of `node` once it is its turn.

    `after`: hold it back until that job succeeded; if it ends otherwise, this one fails. `coalesce`: when the newest
    job waiting on the subject asks for the same, return that one. `join`: so too when the newest of all is the same
    person's, a few seconds old and in one of these states: somebody pressed twice. `time_limit`: seconds, else the
    kind's. `on_commit`: called with the job once it is sure to run.

    Raises `UnknownKind`, `BadArguments`, and for who does not moderate `TooManyJobs`.
    """
    known = registry.get(kind)
    wanted = {"kind": kind, "subject": subject, "node": node, "args": known.clean(args or {}), "after": after}
    limit = min(time_limit or known.time_limit, registry.MAX_TIME_LIMIT)
    is_limited = requested_by is not None and not requested_by.is_staff  # who moderates must be able to, whatever waits
    with transaction.atomic():
        if coalesce or join or is_limited:
            lock_subject(subject)
        if coalesce and (same := _newest_queued_like(wanted)):
            return same
        if join and requested_by and (same := _just_asked(wanted, requested_by, join)):
            return same
        if requested_by and is_limited:
            _refuse_beyond_limits(subject, requested_by)
        return _ask(
            wanted | {"title": title, "requested_by": requested_by, "retry_of": retry_of, "time_limit": limit},
            on_commit,
        )


def _ask(fields: Mapping[str, Any], on_commit: Callable[[Job], None] | None) -> Job:
    job = Job.objects.create(**fields, stream=Stream.objects.create())
    if not _must_wait_for(job.after):
        deliver(job)
    events.publish(job.subject, topic(job.pk))
    if on_commit:
        transaction.on_commit(partial(on_commit, job))
    return job


def _newest_queued_like(wanted: Mapping[str, Any]) -> Job | None:
    """Only the newest: before it something else may be queued that must not be overtaken."""
    newest = Job.objects.about(wanted["subject"]).filter(state=Job.State.QUEUED).order_by("-pk").first()
    if newest and all(getattr(newest, name) == value for name, value in wanted.items()):
        return newest
    return None


def _just_asked(wanted: Mapping[str, Any], by: "User", states: Collection[Job.State]) -> Job | None:
    """The newest, if it is the same press; what it waited for may be over, so `after` may differ."""
    newest = Job.objects.about(wanted["subject"]).order_by("-pk").first()
    if newest is None or newest.state not in states or newest.cancel_requested_at:
        return None
    is_same = all(getattr(newest, name) == wanted[name] for name in ("kind", "node", "args"))
    is_recent = timezone.now() - newest.created_at < (TOGETHER if newest.is_active else DOUBLE_CLICK)
    return newest if is_same and is_recent and newest.requested_by_id == by.pk else None


def _refuse_beyond_limits(subject: str, by: "User") -> None:
    """The lock puts the member's requests in order. It comes last, after those of a server's row and of a subject; a
    member's transaction asks for one job, hence no deadlock."""
    lock_member(by.pk)
    if Job.objects.about(subject).filter(state=Job.State.QUEUED).count() >= MOST_WAITING:
        raise TooManyJobs(f"{MOST_WAITING} jobs wait for this already. Wait until some are done, or cancel them.")
    if Job.objects.active().filter(requested_by=by).count() >= MOST_OF_MEMBER:
        raise TooManyJobs(f"You have {MOST_OF_MEMBER} jobs under way. Wait until some are done, or cancel them.")


def _must_wait_for(after: Job | None) -> bool:
    """Whether `after` is unfinished. Its row is locked, so it cannot end before the follower can be seen."""
    return bool(after) and Job.objects.select_for_update(no_key=True).get(pk=after.pk).is_active  # type: ignore[union-attr]


def cancel(*, job: Job, by: "User | None" = None) -> bool:
    """End a queued job at once, or ask a running one to stop, which it does soon or is made to.

    Returns whether there was anything to cancel.
    """
    note = f"Cancelled by {by.get_username()}." if by else "Cancelled."
    with transaction.atomic():
        current = Job.objects.get(pk=job.pk)
        if current.state == Job.State.QUEUED and end(current, Job.State.CANCELLED, note):
            return True
        running = Job.objects.filter(pk=job.pk, state=Job.State.RUNNING, cancel_requested_at=None)
        if not running.update(cancel_requested_at=Now()):
            return False
        streams.append(job.stream_id, streams.clean(note.replace("Cancelled", "Cancel asked for", 1)))
        events.publish(job.subject, topic(job.pk))
    return True


def retry(*, job: Job, by: "User | None" = None) -> Job:
    """The same again, after what it follows where that failed; or what waits already. Raises `NotRetryable`."""
    current = Job.objects.get(pk=job.pk)
    if current.is_active:
        raise NotRetryable("This job has not ended yet. Wait for it, or cancel it first.")
    try:
        retryable = registry.get(current.kind).retryable
    except registry.UnknownKind:
        retryable = False
    if not (retryable and current.can_retry):
        raise NotRetryable("This job cannot be run again. Start the action anew where you first did.")
    after = retry(job=current.after, by=by) if current.after and current.after.can_retry else current.after
    try:
        return enqueue(
            kind=current.kind,
            subject=current.subject,
            title=current.title,
            args=current.args,
            node=current.node,
            requested_by=by,
            after=after,
            coalesce=True,
            join=Job.ACTIVE,
            time_limit=current.time_limit,
            retry_of=current,
        )
    except registry.BadArguments as error:
        raise NotRetryable("This job is from another version. Start the action anew where you first did.") from error


def queue_age() -> float:
    """Seconds the oldest delivery of any queue has waited to be taken; 0 when none waits.

    A job that waits for its turn does not count: on its subject, it has no delivery; among bulk jobs, others run.
    """
    with connection.cursor() as db:
        db.execute(_QUEUE_AGE)
        return float(db.fetchone()[0] or 0)
