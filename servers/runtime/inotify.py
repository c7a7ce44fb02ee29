"""Wake-ups of the local runtime: inotify(7) on each server's folder, for its state, and on its console.

Watches are on folders, which come and go with the server's files: `follow` asks for all of them again, which for one
that is there already changes nothing, and gives the number of the new folder where another has taken the name.
"""

import ctypes
import errno
import logging
import os
import select
import struct
from collections.abc import Iterable
from pathlib import Path

from servers.runtime.keeper.state import STATE_NAME
from servers.runtime.wakes import Wakes, Woken

log = logging.getLogger(__name__)
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_Q_OVERFLOW, IN_IGNORED = 0x02, 0x80, 0x100, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_EXCL_UNLINK = 0x0100_0000, 0x0200_0000, 0x0400_0000
FOLDER = IN_MOVED_TO | IN_CREATE | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK
CONSOLE = FOLDER | IN_MODIFY
NONE = -1
READ_BYTES = 256 << 10
HEADER = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_libc = ctypes.CDLL(None, use_errno=True)


class FolderWakes(Wakes):
    """Watches ROOT/NAME and ROOT/NAME/console; what the kernel has no watch for is polled."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._watches: dict[str, tuple[int, ...]] = {}
        self._names: dict[int, str] = {}
        self._warned = False
        self._notify = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._failed = ctypes.get_errno() if self._notify < 0 else 0
        if not self._failed:
            self._epoll.register(self._notify, select.EPOLLIN)

    def follow(self, names: Iterable[str], live: Iterable[str]) -> set[str]:
        before, self._polled, live = self._watches, set(), set(live)
        # Outermost first: whatever appears afterwards is an event of the folder above it.
        self._names = {self._watch(self._root, FOLDER): ""}
        self._watches = {name: self._watch_server(name, name in live) for name in names}
        self._names |= {number: name for name, numbers in self._watches.items() for number in numbers}
        self._names.pop(NONE, None)
        for number in {number for numbers in before.values() for number in numbers} - self._names.keys() - {NONE}:
            _libc.inotify_rm_watch(self._notify, number)  # fails for a folder that is gone, whose watch is as well
        return {name for name, numbers in self._watches.items() if len(numbers) > 1 and numbers != before.get(name)}

    def close(self) -> None:
        if self._notify >= 0:
            os.close(self._notify)
        super().close()

    def _watch_server(self, name: str, live: bool) -> tuple[int, ...]:
        """Numbers of the watches on its folder and, if it is `live`, its console."""
        folder = self._watch(self._root / name, FOLDER)
        return (folder, self._watch(self._root / name / "console", CONSOLE, name)) if live else (folder,)

    def _watch(self, path: Path, mask: int, name: str = "") -> int:
        """The number of the watch on that folder; `NONE` for one that is not there, or that has to be polled."""
        number = NONE if self._failed else int(_libc.inotify_add_watch(self._notify, os.fsencode(path), mask))
        if number < 0 and (code := self._failed or ctypes.get_errno()) != errno.ENOENT:
            self._warn(code)
            self._polled |= {name} - {""}
        return number

    def _warn(self, code: int) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "Consoles are polled: inotify says “%s”. Raise fs.inotify.max_user_watches and max_user_instances.",
                os.strerror(code),
            )

    def _ready(self, number: int, woken: Woken) -> None:
        data, position = os.read(self._notify, READ_BYTES), 0
        while position < len(data):
            watch, mask, _, length = HEADER.unpack_from(data, position)
            position += HEADER.size + length
            file = data[position - length : position].rstrip(b"\0").decode(errors="replace")
            if mask & IN_Q_OVERFLOW:
                woken.readable |= self._watches.keys()
                woken.states = True
            elif watch in self._names:
                self._happened(watch, mask, file, woken)

    def _happened(self, watch: int, mask: int, file: str, woken: Woken) -> None:
        name = self._names[watch]
        if mask & IN_IGNORED:  # the folder is gone, and another may have its name
            woken.states = True
        elif not name:
            woken.states |= not file.startswith(".")
        elif watch == self._watches[name][0]:
            woken.states |= file in (STATE_NAME, "console")
        else:
            woken.consoles.add(name)
