"""The keeper's own view of the machine: namespaces, the mounted layers, and giving up every privilege again.

Needs no root: a user namespace that maps only the caller allows it (user_namespaces(7)). All mounts live and die with
the keeper's mount namespace and are never seen outside.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>, <linux/securebits.h>, <linux/capability.h>
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
CLONE_NEWIPC, CLONE_NEWNET = 0x08000000, 0x40000000
MS_NOSUID, MS_NODEV = 2, 4
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 0x1
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER = 1, 24, 28, 36
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
SECUREBITS_LOCKED = 0b1111 | 0b11 << 6  # root gets nothing by being root, not even ambient capabilities; all locked
CAPABILITY_VERSION_3 = 0x20080522
SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (each game gets its own)
SCRATCH_OPTIONS, HIDDEN_OPTIONS = "size=64m,mode=1777", "size=64k,mode=0755"
# All that a layer's script sees of the machine; deploy/libexec/build names the other places.
SYSTEM = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr"}
SYSTEM_OPTIONS = "size=1m,mode=0755"
PLACE, LAYER = "/run/left4me", "/run/left4me/layer"
OPTIONS_LIMIT = os.sysconf("SC_PAGE_SIZE") - 1  # mount(2): the data argument is one page

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def prctl(option: int, *arguments: int) -> None:
    """prctl(2). Raises `OSError`."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *padded), "prctl")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [os.fsencode(value) if value is not None else None for value in (source, target, kind, options)]
    _check(_libc.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mount {kind or 'bind'}")


def enter(*, more: int = 0, also: int | None = None) -> None:
    """Move this process into a new user and mount namespace (and those of `more`), and its children into a new process
    namespace.

    The first child is that namespace's init: when it dies, the kernel kills all the others. `also`: a number that root
    may take there as user and group. Raises `OSError`.
    """
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | more
    uid, gid = os.geteuid(), os.getegid()
    if also is None:
        _check(_libc.unshare(flags), "unshare")
        for name, value in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path(f"/proc/self/{name}").write_text(value)
    else:
        _enter_with_second_user(flags, also)
    _mount(None, "/", None, MS_REC | MS_SLAVE)


def _enter_with_second_user(flags: int, second: int) -> None:
    """Only root outside may map a second user (user_namespaces(7)): a child that stays there does it."""
    inside, go = os.pipe()
    if (outside := os.fork()) == 0:
        code = 1
        try:
            os.close(go)
            os.read(inside, 1)
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{os.getppid()}/{name}").write_text(f"0 0 1\n{second} {second} 1\n")
            code = 0
        finally:
            os._exit(code)
    try:
        _check(_libc.unshare(flags), "unshare")
    finally:
        os.close(go)
        os.close(inside)
        _, status = os.waitpid(outside, 0)
    if status:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), "uid_map")


def mount_layers(layers: Iterable[str], *, upper: str, work: str, merged: str) -> None:
    """Mount `layers` (lowest first) with overlayfs at `merged`; writes go to `upper`. Raises `OSError`, `ValueError`.

    The kernel gets each folder as the path of an open descriptor: it needs no escaping of ":", "," and "\\", is never
    long, and cannot become another folder in between.
    """
    opened: list[int] = []

    def handle(path: str) -> str:
        opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY))
        return f"/proc/self/fd/{opened[-1]}"

    try:
        lower = ":".join(reversed([handle(layer) for layer in layers]))
        options = f"userxattr,lowerdir={lower},upperdir={handle(upper)},workdir={handle(work)}"
        if len(options) > OPTIONS_LIMIT:
            raise ValueError(f"{len(opened) - 2} layers are more than can be mounted at once. Use fewer.")
        _mount("overlay", merged, "overlay", 0, options)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def confine(hidden: Iterable[str], *, tree: str) -> None:
    """Leave the game one place to write, the mount at `tree`, besides scratch folders of its own.

    The folders `hidden` become empty, so a game cannot reach the portal's secrets, its database socket or another
    server's files; all else becomes read-only. Descriptors opened before `enter` still write. Raises `OSError`.
    """
    kept = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    covered: list[str] = []
    for path in sorted({*hidden, *SCRATCH}):
        if os.path.isdir(path) and not any(Path(path).is_relative_to(outer) for outer in covered):
            options = SCRATCH_OPTIONS if path in SCRATCH else HIDDEN_OPTIONS
            _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)
            covered.append(path)
    if any(Path(tree).is_relative_to(path) for path in covered):
        os.makedirs(tree)
    _set_read_only("/", recursive=True)
    _mount(f"/proc/self/fd/{kept}", tree, None, MS_BIND)
    os.close(kept)
    for path in (tree, *(path for path in covered if path in SCRATCH)):
        _set_read_only(path, read_only=False)


def show_system(folder: str, hidden: Iterable[str], *, network: bool) -> None:
    """Leave a layer's script the system's programs, read-only, and what it works with of `folder`: `layer` and `tmp`,
    which alone it can write, and two files (deploy/libexec/build). To be called in a process namespace's init.

    Raises `OSError`.
    """
    opened = {name: os.open(os.path.join(folder, name), os.O_PATH | os.O_DIRECTORY) for name in ("layer", "tmp")}
    texts = {f"{PLACE}/{name}": Path(folder, name).read_bytes() for name in ("script", "order.json")}
    if network:  # where systemd-resolved is used, this is a link into what will be hidden
        with suppress(FileNotFoundError):
            texts[os.path.realpath("/etc/resolv.conf")] = Path("/etc/resolv.conf").read_bytes()
    _cover([*(entry.path for entry in os.scandir("/") if entry.name not in SYSTEM), *hidden, "/dev/shm"])  # noqa: S108
    for path, text in texts.items():
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(path).write_bytes(text)
    writable = {LAYER: opened["layer"], "/tmp": opened["tmp"], "/var/tmp": opened["tmp"]}  # noqa: S108
    for path in writable:
        os.makedirs(path, exist_ok=True)
    with suppress(OSError):  # refused where a container hides parts of /proc: it stays the machine's, as for games
        _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
    _set_read_only("/", recursive=True)
    for path, descriptor in writable.items():
        _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND)
        _set_read_only(path, read_only=False)
    for descriptor in opened.values():
        os.close(descriptor)


def _cover(paths: Iterable[str]) -> None:
    """Make those folders empty, as far as they are there and not within others of them."""
    for path in sorted(paths):
        if os.path.isdir(path) and not os.path.islink(path):
            _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, SYSTEM_OPTIONS)


def _set_read_only(path: str, *, read_only: bool = True, recursive: bool = False) -> None:
    """mount_setattr(2), Linux 5.12."""
    attributes = struct.pack("=QQQQ", *((MOUNT_ATTR_RDONLY, 0) if read_only else (0, MOUNT_ATTR_RDONLY)), 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = _libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, attributes, len(attributes))
    _check(int(result), "mount_setattr")


def drop_privileges() -> None:
    """Give up every capability, for this process and all it will execute, for ever (capabilities(7))."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    try:
        for capability in range(last + 1):
            prctl(PR_CAPBSET_DROP, capability)
        prctl(PR_SET_SECUREBITS, SECUREBITS_LOCKED)
    except PermissionError:
        pass  # without CAP_SETPCAP there is nothing to lose, and no_new_privs keeps it so
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
