"""What a process tells whoever supervises it: that it is ready, as systemd's units of Type=notify wait for."""

import os
import socket


def tell_ready() -> None:
    """READY=1 to the socket in NOTIFY_SOCKET, once; nothing without one. See sd_notify(3)."""
    if address := os.environ.pop("NOTIFY_SOCKET", ""):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as supervisor:
            supervisor.sendto(b"READY=1", address.replace("@", "\0", 1) if address.startswith("@") else address)
