"""Who has a say inside a running game: a server's members with a Steam id, written between two marks into the file that
its game's definition names (`[admins]`), over whatever the layers have there."""

import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from servers import access, games, steam_ids
from servers.games import placeholders
from servers.games.mods import Admins
from servers.models import Membership, Server
from servers.runtime.base import ServerSpec
from servers.runtime.beneath import NotBeneath, open_beneath

MOST_BYTES = 256 << 10  # of the file that the layers have
BEGIN, END = "left4me: begin", "left4me: end"
_STRANGE = re.compile(r"[^A-Za-z0-9._/-]")


class _Unreadable(Exception):
    """The layers' file is none that members can be written into; the text says why."""


@dataclass(frozen=True)
class Entitled:
    """Somebody with a say inside the game. Two people may share a Steam account, which then has what both have."""

    steam_id: int
    name: str
    flags: str


def flags_of(server: Server, admins: Admins, user: object, rights: Iterable[str]) -> str:
    """What somebody with `rights` on the server gets inside the game; nothing for most."""
    return admins.owner if user == server.owner else admins.flags(set(rights))


def entitled(server: Server, admins: Admins) -> list[Entitled]:
    """By Steam id; without those who may not enter the portal."""
    memberships = Membership.objects.filter(server=server).select_related("user").order_by("user__username")
    found: dict[int, tuple[list[str], set[str]]] = {}
    for user, rights in [(server.owner, []), *((one.user, one.rights) for one in memberships)]:
        flags = flags_of(server, admins, user, rights)
        if user.steam_id and flags and access.may_enter(user):
            names, held = found.setdefault(user.steam_id, ([], set()))
            names.append(user.username)
            held.add(flags)
    return [
        Entitled(number, "/".join(names), admins.owner if admins.owner in held else "".join(sorted(set("".join(held)))))
        for number, (names, held) in sorted(found.items())
    ]


def enter_members(server: Server, spec: ServerSpec, log: Callable[[str], None]) -> ServerSpec:
    """The spec with the members written into the file, where the game has one and a layer has its folder."""
    admins = games.get(server.game).admins
    if admins is None or not any(_has_folder(layer, admins.path) for layer in spec.layers):
        return spec
    try:
        text = spec.files[admins.path] if admins.path in spec.files else _uppermost(spec.layers, admins.path)
    except _Unreadable as error:
        log(f"Nobody was given rights inside the game: {admins.path} {error}")
        return spec
    people = entitled(server, admins)
    log(f"Rights inside the game: {', '.join(f'{one.name} {one.flags}' for one in people) or 'nobody'}.")
    return replace(spec, files={**spec.files, admins.path: put_block(text, admins, people)})


def put_block(text: bytes, admins: Admins, people: Iterable[Entitled]) -> bytes:
    """`text` with the block in place of one that it has, else behind it; not a byte of the rest is changed."""
    begin, end = (f"{admins.comment} {mark}".encode() for mark in (BEGIN, END))
    lines = [begin, *(_line(admins, one) for one in people), end]
    block = b"".join(line + b"\n" for line in lines)
    first = re.search(rb"^%s[^\n]*\n" % re.escape(begin), text, re.MULTILINE)
    last = first and re.compile(rb"^%s[^\n]*(?:\n|\Z)" % re.escape(end), re.MULTILINE).search(text, first.end())
    if first and last:
        return text[: first.start()] + block + text[last.end() :]
    return text + (b"" if not text or text.endswith(b"\n") else b"\n") + block


def _line(admins: Admins, one: Entitled) -> bytes:
    ids = steam_ids.spellings(one.steam_id)
    line = placeholders.substitute(admins.line, lambda kind, key: ids[key] if kind == "steam" else one.flags)
    return f"{line} {admins.comment} {_STRANGE.sub('_', one.name)}".encode("ascii", "replace")


def _has_folder(layer: Path, path: str) -> bool:
    try:
        os.close(_open(layer, path.rpartition("/")[0], os.O_PATH | os.O_DIRECTORY))
    except (OSError, NotBeneath):
        return False
    return True


def _uppermost(layers: Iterable[Path], path: str) -> bytes:
    """What the highest layer that has the file has in it; nothing if none has. Raises `_Unreadable`."""
    for layer in reversed(list(layers)):
        try:
            descriptor = _open(layer, path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, NotBeneath) as error:
            raise _Unreadable("cannot be read in a layer.") from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Unreadable("is no plain file in a layer.")
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise _Unreadable(f"is larger than {MOST_BYTES >> 10} KB in a layer.")
        return text
    return b""


def _open(layer: Path, path: str, flags: int) -> int:
    root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(root, path, flags)
    finally:
        os.close(root)
