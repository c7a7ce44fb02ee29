"""What a service refuses, each with a sentence that a member understands and that says what to do."""

from typing import Any

from jobs.errors import Refused

ServerError = Refused  # so that whoever shows refusals shows those of the job engine, too


class NameInvalid(ServerError):
    field = "name"


class NameTaken(ServerError):
    field = "name"

    def __init__(self, name: str) -> None:
        super().__init__(f"The name “{name}” is taken. Choose another one.")


class TooManyServers(ServerError):
    """The owner has as many servers as members may have."""


class NoFreePort(ServerError):
    """Every port of a range the game needs is given away on that node."""


class NoNode(ServerError):
    """There is no machine to run the server on."""


class ServerGone(ServerError):
    """The server was deleted, perhaps by somebody else a moment ago."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The server “{name}” was deleted. A moderator can restore it for a week.")


class OwnerSuspended(ServerError):
    def __init__(self, name: str) -> None:
        super().__init__(f"The owner of “{name}” is suspended, so it cannot be started.")


class CannotShare(ServerError):
    """Those rights cannot be given to, or taken from, that person by whoever asked."""

    field = "rights"


class RightsChanged(ServerError):
    """Somebody else has given or taken rights of that person since they were shown; `held` is None without any."""

    def __init__(self, user: str, held: list[str] | None) -> None:
        now = "may do nothing here" if held is None else f"may: {', '.join(held)}" if held else "may only see it"
        super().__init__(f"Somebody else changed what {user} may do since you opened this. Now {user} {now}.")


class CannotTransfer(ServerError):
    field = "to"


class CannotRestore(ServerError):
    """The server is not deleted, or its files are gone."""


class NotNow(ServerError):
    """What was asked for later cannot be waited for; the text says why."""


class PlayerGone(ServerError):
    """Nobody of that number and name plays any more."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name or 'Whoever had no name'} is not playing any more. Look at the list again.")


class PressedTwice(ServerError):
    """The same member did just that a moment ago, so there is nothing left to do and nothing went wrong."""

    def __init__(self) -> None:
        super().__init__("You did that a moment ago. It is done.")


class CommandRefused(ServerError):
    """The command is not sent at all: too long, empty, or the server does not take commands now."""

    field = "command"


class TooManyCommands(CommandRefused):
    """The member waits for as many answers as members may at once."""

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} commands under way. Wait for an answer, then send the next.")


class CommandFailed(ServerError):
    """The command was sent and no answer came."""

    field = "command"


class LayerInvalid(ServerError):
    """What was given for a layer, or for its place on a stack, does not fit."""


class UploadGone(LayerInvalid):
    """There is no such upload of the member's, or not all of the file has arrived."""

    def __init__(self) -> None:
        super().__init__("That upload is not there any more, or not all of the file is. Choose the file again.")


class SlotEmpty(ServerError):
    """The server's stack has slots that must be filled first."""

    def __init__(self, name: str, labels: list[str]) -> None:
        shown = ", ".join(f"“{label}”" for label in labels)
        super().__init__(f"“{name}” still needs a layer for {shown}. Put one there on its page Layers, then start it.")


class LayersFull(ServerError):
    """The member has as many layers as members may have."""


class DiskLimit(ServerError):
    """The member has as many bytes on disk as they may have."""


class LayerGone(ServerError):
    """The layer was deleted, perhaps by somebody else a moment ago."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The layer “{name}” was deleted.")


class LayerInUse(ServerError):
    def __init__(self, name: str, users: list[str]) -> None:
        shown = ", ".join(users[:5]) + (f" and {len(users) - 5} more" if len(users) > 5 else "")
        super().__init__(f"{name} is in use by {shown}. Take it off those stacks first.")


class UploadRefused(ServerError):
    """That piece, or that file, is not taken."""


class VersionRefused(ServerError):
    """What was asked of a version of a game cannot be done in the state it is in."""


class NothingToRevert(ServerError):
    """The server did nothing in those places; `is_all`: nowhere over a layer's files."""

    def __init__(self, name: str, *, is_all: bool = False) -> None:
        known = f"“{name}” has not changed that, as far as is known. Look at its files again."
        covers = f"“{name}” covers no file of a layer. Choose everything to delete also what it added."
        super().__init__(covers if is_all else known)


class VersionInUse(ServerError):
    """A server stands on the version, or it is the current one."""


class FileInvalid(ServerError):
    """A file written by hand does not fit: by its name, its text, or because there are too many."""

    def __init__(self, field: str, problems: list[str]) -> None:
        super().__init__(" ".join(problems))
        self.field, self.problems = field, problems


class FileChanged(ServerError):
    """Somebody else has written the file, or another text, since; `current` is it, or None when they deleted it."""

    def __init__(self, path: str, current: Any) -> None:
        done = "changed" if current is not None else "deleted"
        super().__init__(f"{path} was {done} by somebody else since you opened it.")
        self.current = current


class FieldsChanged(ServerError):
    """Somebody else has given these fields other values since they were shown."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"Changed by somebody else since you opened it: {', '.join(names)}.")
        self.names = names
