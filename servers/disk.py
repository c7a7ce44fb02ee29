"""How much a member may have on disk: the numbers, and what members are told about them. `services.quotas` counts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from servers.models import Server
from servers.sizes import HIDDEN, in_words

if TYPE_CHECKING:
    from portal.models import User

NEAR, RESERVE = 85, 10  # percent of the limit: members are warned from there; running servers may go beyond it so far
WAY_OUT = (
    "Delete layers or servers that are not needed, also those under “Deleted servers”, or revert what a server has "
    "changed. A moderator can give you more room."
)
WAY_OUT_UNCOUNTED = (
    "Open “What the server changed” on its page and revert everything, also what it added, or delete the server for "
    "good. A moderator can help."
)


def limit_of(user: "User") -> int | None:
    """Bytes, or `None` without a limit: staff have none unless they were given one."""
    if user.disk_quota_mib is not None:
        return user.disk_quota_mib << 20
    return None if user.is_staff else settings.DISK_QUOTA


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes of one member. `limit`: `None` for none. `uncounted`: in words, the server that has more than can be."""

    used: int
    limit: int | None
    uncounted: str = ""

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
    def room(self) -> str:
        """What is used, of what."""
        words = f"{in_words(self.used)} of {in_words(self.limit or 0)} of disk"
        if not self.uncounted:
            return words
        return (
            f"{words} (folders of {self.uncounted} are too deep or too many to be counted, which counts as a terabyte)"
        )

    @property
    def way_out(self) -> str:
        return WAY_OUT_UNCOUNTED if self.uncounted else WAY_OUT

    @property
    def sentence(self) -> str:
        """Of the whole and what it means; empty while there is nothing to worry about."""
        if self.limit is None or not self.is_near:
            return ""
        room = f"{self.room} are used"
        if self.is_beyond:
            return f"{room}, so no server starts and nothing is uploaded or built. {self.way_out}"
        return f"{room}. Beyond that nothing is uploaded or built, and servers are stopped. {self.way_out}"


def last_known(user: "User", *, reader: "User | None" = None) -> DiskUse:
    """As it was counted last: a minute ago at most while the agent runs. `reader`: who is told."""
    return DiskUse(used=user.disk_used, limit=limit_of(user), uncounted=uncounted(user, user.disk_used, reader))


def uncounted(owner: "User", used: int, reader: "User | None") -> str:
    """A server of theirs that has more than can be counted, in words: by name only where `reader` sees all they have.
    Asks the database only where `used`, of all together, leaves room for one."""
    if used < HIDDEN:
        return ""
    found = Server.objects.filter(owner=owner, disk_is_cut=True, disk_bytes__gte=HIDDEN)
    name = found.values_list("name", flat=True).first()
    if name and reader and (reader.is_staff or reader.pk == owner.pk):
        return f"“{name}”"
    return "a server" if name else ""
