"""Runs a command as a container without user namespaces, /dev/fuse and the right to mount shows the machine to it.

    python tests/container.py COMMAND…

Needs root. The command gets a user namespace that maps every user and allows none below it.
"""

import ctypes
import os
import subprocess
import sys

NEWUSER, NEWNS = 0x10000000, 0x00020000
LIMIT = "/proc/sys/user/max_user_namespaces"
RIGHTS = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,setfcap"


def check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ask, tell = os.pipe()
    ours = os.getpid()
    if os.fork() == 0:  # outside, where it may write the maps
        os.read(ask, 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{ours}/{name}", "w") as file:
                file.write("0 0 65536\n")
        os._exit(0)
    check(libc.unshare(NEWUSER | NEWNS))
    os.write(tell, b".")
    if os.wait()[1]:
        raise SystemExit("The users could not be mapped.")
    with open(LIMIT, "w") as file:
        file.write("0")
    if os.path.exists("/dev/fuse"):
        subprocess.run(["mount", "--bind", "/dev/null", "/dev/fuse"], check=True)
    rights = ",".join(f"+{right}" for right in RIGHTS.split(","))
    command = ["setpriv", f"--bounding-set=-all,{rights}", "--inh-caps=-all", "--", *sys.argv[1:]]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
