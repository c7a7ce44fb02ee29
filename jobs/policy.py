"""Who may view what: asks the site's policy for many sockets at once, at the door and again later.

The engine knows neither people nor servers. `settings.JOBS_IDENTITY` names the function that says whose a credential
is, `settings.JOBS_POLICY` the class that says what a user may see (docs/architecture.md, "Access").
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from jobs.models import Job

CLOSE_SIGNED_OUT, CLOSE_FORBIDDEN, CLOSE_UNKNOWN = 4401, 4403, 4404
MAX_ID = 2**63 - 1


class Policy(Protocol):
    """What the engine asks the site."""

    @staticmethod
    def may_view_stream(user: Any, stream_id: int) -> bool | None: ...

    @staticmethod
    def may_view_streams(asked: Collection[tuple[Any, int]]) -> Mapping[tuple[int, int], bool | None]:
        """The same for many (user, stream) at once, by (user's key, stream), in a fixed number of queries."""

    @staticmethod
    def may_view_job(user: Any, job: "Job") -> bool: ...

    @staticmethod
    def may_cancel_job(user: Any, job: "Job") -> bool: ...

    @staticmethod
    def may_retry_job(user: Any, job: "Job") -> bool: ...

    @staticmethod
    def objection(job: "Job") -> str:
        """Why the job must not run now, though it could be asked for then; nothing when it may."""

    @staticmethod
    def subject_link(user: Any, job: "Job") -> tuple[str, str] | None: ...

    @staticmethod
    def topics(user: Any) -> set[str]: ...


def get_policy() -> Policy:
    """The site's policy."""
    policy: Policy = import_string(settings.JOBS_POLICY)
    return policy


class Asked(NamedTuple):
    """May the holder of this credential view this stream, or with None hear of changes: of which topics?"""

    credential: str
    stream: int | None
    wants_topics: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code` is 0 for yes, else the code to close with; `topics` only when those were asked for."""

    code: int
    user_id: int = 0
    topics: frozenset[str] | None = None


def decide(asked: Collection[Asked]) -> dict[Asked, Verdict]:
    """A verdict for each. Few queries however many are asked, but two for each user who wants topics."""
    identify: Callable[[set[str]], dict[str, Any]] = import_string(settings.JOBS_IDENTITY)
    holders = identify({one.credential for one in asked})
    policy = get_policy()
    users = {user.pk: user for user in holders.values()}
    pairs = {
        (holders[one.credential].pk, one.stream): None
        for one in asked
        if one.credential in holders and one.stream is not None and 0 < one.stream <= MAX_ID
    }
    allowed = policy.may_view_streams([(users[pk], stream) for pk, stream in pairs]) if pairs else {}
    listeners = {holders[one.credential].pk for one in asked if one.credential in holders and one.wants_topics}
    topics = {pk: frozenset(policy.topics(users[pk])) for pk in listeners}
    return {one: _verdict(one, holders.get(one.credential), allowed, topics) for one in asked}


def _verdict(
    one: Asked, user: Any, allowed: Mapping[tuple[int, int], bool | None], topics: Mapping[int, frozenset[str]]
) -> Verdict:
    if user is None:
        return Verdict(CLOSE_SIGNED_OUT)
    if one.stream is None:
        return Verdict(0, user.pk, topics.get(user.pk) if one.wants_topics else None)
    may_view = allowed.get((user.pk, one.stream))
    if may_view is None:
        return Verdict(CLOSE_UNKNOWN, user.pk)
    return Verdict(0 if may_view else CLOSE_FORBIDDEN, user.pk)
