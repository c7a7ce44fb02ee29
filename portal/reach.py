"""Where the demo is reached: the address it listens on, the names it answers to, and what to tell about both."""

import errno
import ipaddress
import os
import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NO_LOGIN = 2**32 - 1  # /proc/self/loginuid where nobody signed in
OPERATIONS = "docs/operations.md"


class ReachError(Exception):
    """The demo cannot listen there; the message says what to do."""


def _at(host: str, port: int) -> str:
    """`host:port` as URLs and ssh write it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True)
class Reach:
    """One address and port of this machine. `name` is what was asked for, an address or a name of it."""

    name: str
    address: Address
    port: int

    def refuse_public(self) -> None:
        """Raises `ReachError` where the internet could reach it. Behind a router nothing here can tell.

        Without units of systemd around them, games can read what the portal's user can, its key and database included.
        """
        found = [self.address]
        if self.address.is_unspecified:
            found = [ipaddress.ip_address(own) for version in (4, 6) if (own := _main_address(version))]
        if public := [str(one) for one in found if one.is_global]:
            raise ReachError(
                f"{public[0]} is a public address, and games that run like this can read all that you can. Install it"
                f" for real use ({OPERATIONS}), or add --public if only people you trust have accounts."
            )

    @classmethod
    def of(cls, name: str, port: int, *, check: bool = True) -> "Reach":
        """Raises `ReachError` for what is no address of this machine, or, with `check`, cannot be listened on."""
        if not 0 < port < 65536:
            raise ReachError(f"--port {port} is no port: it must be from 1 to 65535.")
        reach = cls(name.strip("[]"), _resolved(name.strip("[]")), port)
        if check:
            reach._check()
        return reach

    def _check(self) -> None:
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((str(self.address), self.port))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
                raise ReachError(
                    f"--host {self.name} is no address of this machine. Choose one that `ip address` lists, or 0.0.0.0"
                    " for all of them."
                ) from error
            other = self.port + 1 if 1023 < self.port < 65535 else 8000
            raise ReachError(
                f'Port {self.port} cannot be used ({error.strerror}). Choose another: make demo ARGS="--port {other}"'
            ) from error

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        local = self.address.is_unspecified or str(self.address) == "127.0.0.1"
        return f"http://{_at('localhost' if local else self.name, self.port)}"

    @property
    def probe(self) -> str:
        """The same by number, for our own check whether it answers."""
        return f"http://{_at(self._loopback, self.port)}"

    @property
    def _loopback(self) -> str:
        if not self.address.is_unspecified:
            return str(self.address)
        return "127.0.0.1" if self.address.version == 4 else "::1"

    @property
    def hosts(self) -> list[str]:
        """What a browser may say in `Host` besides the names of this machine itself.

        All, where it listens on all addresses: it cannot know by which public address or name it is reached. Cookies
        are bound to the name in the browser, and forms and sockets are taken only from pages of the same host and port.
        """
        if self.address.is_unspecified:
            return ["*"]
        return [f"[{name}]" if ":" in name else name for name in dict.fromkeys([self.name.lower(), str(self.address)])]

    @property
    def players(self) -> str:
        """The address that players are shown."""
        return (_main_address(self.address.version) or self._loopback) if self.address.is_unspecified else self.name

    def warning(self) -> list[str]:
        """What it means that others can reach it; nothing when they cannot."""
        if self.address.is_loopback:
            return []
        everywhere = self.address.is_unspecified
        shown = f"http://{_at(_main_address(self.address.version) or 'ADDRESS', self.port)}" if everywhere else self.url
        return [
            f"Others reach it at {shown}" + (" and at every other address of this machine" if everywhere else ""),
            "Warning: this is plain HTTP. Whoever can reach that address can try to sign in, and whoever is on the way",
            f"reads passwords and can take over accounts. For real use, install it with HTTPS: {OPERATIONS}.",
        ]

    def ssh(self, environment: Mapping[str, str]) -> list[str]:
        """How whoever is signed in over SSH opens the page in a browser of their own machine."""
        try:
            _, _, server, port = environment.get("SSH_CONNECTION", "").split()
            ipaddress.ip_address(server)
            option = "" if int(port) == 22 else f" -p {int(port)}"
        except ValueError:
            return []
        local = self.port if self.port > 1023 else 8000 + self.port
        target = f"{local}:{_at(self._loopback, self.port)}"
        return [
            "You are here over SSH. On your own machine, run",
            f"  ssh{option} -L {target} {_ssh_user(environment)}@{server}",
            f"and open http://localhost:{local} there.",
        ]


def _resolved(name: str) -> Address:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name or "?", None, type=socket.SOCK_STREAM)
        return ipaddress.ip_address(found[0][4][0])
    except (OSError, ValueError, UnicodeError) as error:
        raise ReachError(
            f"--host {name} is neither an address nor a name that this machine can resolve. Choose one that"
            " `ip address` lists, or 0.0.0.0 for all of them."
        ) from error


def _main_address(version: int) -> str:
    """The address that other machines see us by, or nothing. Connecting a datagram socket sends nothing."""
    family, elsewhere = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _ssh_user(environment: Mapping[str, str]) -> str:
    """Who signed in, which `sudo` and `su` do not change."""
    try:
        number = int(Path("/proc/self/loginuid").read_text())
        if number != NO_LOGIN:
            return pwd.getpwuid(number).pw_name
    except (OSError, ValueError, KeyError):
        pass
    try:
        return environment.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return environment.get("USER") or "USER"
