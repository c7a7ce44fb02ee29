"""The rules around games and scripts, loaded into a network of their own: which packets leave, whatever may answer."""

import subprocess
import sys

import pytest

from tests.stack import BASE

NETWORK = """
ip link set lo up
ip link add out type veth peer name nowhere
ip link set out up
ip link set nowhere up
ip addr add 192.0.2.1/24 broadcast 192.0.2.255 dev out
ip addr add 2001:db8::1/64 dev out nodad
ip addr add fe80::1/64 dev out nodad
ip route add default via 192.0.2.2
ip route add default via 2001:db8::2 dev out
nft -f -
exec "$@"
"""
# A packet that may leave is lost: nobody is there. One that may not is an error at once, or when it was told.
SEND = """
import socket, sys
here = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
here.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
here.bind(("::", 9))
for target in sys.argv[1:]:
    address, port = target.rsplit("/", 1)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            out.connect(socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4])
            out.send(b"x")
            out.send(b"x")
            print("left")
        except OSError as error:
            print(type(error).__name__)
"""
REFUSED = [
    "127.0.0.1/9",
    "192.0.2.1/9",
    "192.0.2.255/9",
    "255.255.255.255/9",
    "224.0.0.251/9",
    "169.254.169.254/9",
    "::1/9",
    "2001:db8::1/9",
    "ff02::fb%out/9",
    "fe80::2%out/9",
    "fd00:ec2::254/9",
]
ALLOWED = ["198.51.100.1/9", "192.0.2.7/9", "2001:db8:1::1/9", "169.254.169.254/53", "192.0.2.255/53"]


def left(rules: str) -> dict[str, bool]:
    """Which packets leave where the group that is fenced is the sender's."""
    command = ["unshare", "--map-root-user", "--net", "sh", "-ec", NETWORK, "sh", sys.executable, "-c", SEND]
    asked = [*REFUSED, *ALLOWED]
    done = subprocess.run([*command, *asked], input=rules, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(zip(asked, (line == "left" for line in done.stdout.split()), strict=True))


def rules_for(fenced: str) -> str:
    """Those that are shipped; there is but one group here, which stands for `fenced`."""
    rules = (BASE / "deploy/libexec/fence.nft").read_text()
    for group in ("left4me-game", "left4me-build"):
        assert f'skgid "{group}"' in rules
        rules = rules.replace(f'skgid "{group}"', "skgid 0" if group == fenced else "skgid != 0")
    return rules


@pytest.mark.parametrize("group", ["left4me-game", "left4me-build"])
def test_games_and_scripts_reach_what_is_farther_away_and_resolvers_alone(group: str) -> None:
    assert left(rules_for(group)) == dict.fromkeys(REFUSED, False) | dict.fromkeys(ALLOWED, True)


def test_others_are_not_fenced() -> None:
    assert left(rules_for("nobody")) == dict.fromkeys([*REFUSED, *ALLOWED], True)
