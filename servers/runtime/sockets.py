"""Which ports of this machine are in use, whoever uses them: the database knows only what the portal gave away.

Read from the kernel's tables rather than tried by binding, which the worker's unit may not do.
"""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

TABLES = ("udp", "udp6", "tcp", "tcp6")
LISTEN = "0A"  # include/net/tcp_states.h of the kernel: connections that are closing keep nobody from listening


def ports_in_use() -> set[int]:
    """Those on which something receives UDP or listens for TCP, at whatever address."""
    return {port for table in TABLES for port in _ports(table)}


def _ports(table: str) -> Iterator[int]:
    """proc(5), “/proc/net/tcp”: after a heading, each row has the local ADDRESS:PORT in hexadecimal and the state.

    Below /proc/self, since a unit with ProcSubset=pid has no /proc/net.
    """
    with suppress(FileNotFoundError) if table.endswith("6") else nullcontext():  # a kernel without IPv6
        for row in Path("/proc/self/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = row.split()
            if table.startswith("udp") or state == LISTEN:
                yield int(local.rpartition(":")[2], 16)
