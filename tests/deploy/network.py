"""A network for the machines of one test process alone."""

import atexit
import ctypes
import ipaddress
import os
import subprocess

OUTSIDE = os.open("/proc/self/ns/net", os.O_RDONLY)  # the network that this process began in
CLONE_NEWNET = 0x40000000


def leave_for_own_network() -> None:
    """Give this process a network of its own, from which a router leads outside.

    Its machines share it: those of another process have ports, addresses and a packet filter of theirs.
    """
    if os.readlink("/proc/self/ns/net") != os.readlink(f"/proc/self/fd/{OUTSIDE}"):
        return
    outside = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{OUTSIDE}"]
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace can be made here")
    number = os.getpid() % 2**14  # of a network of four addresses in RFC 2544's, which tests may use
    network, name = int(ipaddress.ip_address("198.19.0.0")) + 4 * number, f"left4me-{number}"
    router, ours = (ipaddress.ip_address(network + host) for host in (1, 2))
    for command in (
        f"ip link add {name} mtu 1400 type veth peer name eth0 mtu 1400 netns {os.getpid()}",
        f"ip addr add {router}/30 dev {name}",
        f"ip link set {name} up",
        "sysctl -qw net.ipv4.ip_forward=1",
        f"nft add table ip {name}",
        f"nft add chain ip {name} out {{ type nat hook postrouting priority 100 ; }}",
        f"nft add rule ip {name} out ip saddr {ours} masquerade",
    ):
        subprocess.run([*outside, *command.split()], check=True)
    atexit.register(subprocess.run, [*outside, "nft", "delete", "table", "ip", name], check=False)
    for command in (
        "link set lo up",
        f"addr add {ours}/30 dev eth0",
        "link set eth0 up",
        f"route add default via {router}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
