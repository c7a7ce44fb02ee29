"""How much a member may have on disk: the numbers, and what members are told about them. `services.quotas` counts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from servers.sizes import in_words

if TYPE_CHECKING:
    from portal.models import User

NEAR, RESERVE = 85, 10  # percent of the limit: members are warned from there; running servers may go beyond it so far
WAY_OUT = (
    "Delete layers or servers that are not needed, also those under “Deleted servers”, or revert what a server has "
    "changed. A moderator can give you more room."
)


def limit_of(user: "User") -> int | None:
    """Bytes, or `None` without a limit: staff have none unless they were given one."""
    if user.disk_quota_mib is not None:
        return user.disk_quota_mib << 20
    return None if user.is_staff else settings.DISK_QUOTA


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes of one member. `limit`: `None` for none."""

    used: int
    limit: int | None

    @property
    def left(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def is_near(self) -> bool:
        return self.limit is not None and self.used * 100 >= self.limit * NEAR

    @property
    def is_beyond(self) -> bool:
        """Of the limit and its reserve: nothing more is taken, and what goes on writing is stopped."""
        return self.limit is not None and self.used * 100 > self.limit * (100 + RESERVE)

    @property
    def sentence(self) -> str:
        """Of the whole and what it means; empty while there is nothing to worry about."""
        if self.limit is None or not self.is_near:
            return ""
        room = f"{in_words(self.used)} of {in_words(self.limit)} of disk are used"
        if self.is_beyond:
            return f"{room}, so no server starts and nothing is uploaded or built. {WAY_OUT}"
        return f"{room}. Beyond that nothing is uploaded or built, and servers are stopped. {WAY_OUT}"


def last_known(user: "User") -> DiskUse:
    """As it was counted last: a minute ago at most while the agent runs."""
    return DiskUse(used=user.disk_used, limit=limit_of(user))
