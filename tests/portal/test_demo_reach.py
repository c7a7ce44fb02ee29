"""Where the demo is reached: on another address it says what that means, and over SSH how to come to it."""

import re
import socket
from contextlib import nullcontext
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from portal.identity import _same_host
from portal.reach import Reach, ReachError, _main_address
from tests.jobs.sockets import Socket
from tests.portal.test_demo import Demo, demo  # noqa: F401  (a fixture)
from tests.stack import free_port, wait_for

ADDRESS = _main_address(4)


def bound(port: int) -> set[str]:
    """Addresses on which something receives UDP at that port (proc_net(5), IPv4)."""
    rows = [line.split()[1].split(":") for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return {socket.inet_ntoa(bytes.fromhex(address)[::-1]) for address, number in rows if int(number, 16) == port}


def game_of(url: str, ready: dict[str, Any]) -> tuple[str, set[str]]:
    """The address that players of the first server are shown, and those it listens on; it answers the agent."""
    headers = {"Authorization": f"Bearer {ready['users']['member']['token']}"}

    def shown() -> dict[str, Any]:
        return httpx.get(f"{url}/api/v1/servers/practice", headers=headers, trust_env=False).json()

    wait_for(lambda: shown()["query"], seconds=30, what="the game's answer to a query")
    host, _, port = shown()["address"].rpartition(":")
    return host, bound(int(port))


def sign_in(url: str, password: str) -> httpx.Client:
    """A browser's session of the member."""
    browser = httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False, follow_redirects=True)
    form = browser.get("/accounts/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token, form.text
    given = {"csrfmiddlewaretoken": token[1], "login": "member", "password": password}
    assert browser.post("/accounts/login/", data=given).status_code == 200
    assert "sessionid" in browser.cookies
    return browser


@pytest.mark.skipif(not ADDRESS, reason="this machine has no address besides its loopback: connect it to a network")
@pytest.mark.parametrize("host", ["that address", "0.0.0.0"])
def test_a_member_signs_in_and_watches_a_console_over(host: str, demo: Demo) -> None:  # noqa: F811
    ready = demo.start("--host", ADDRESS if host == "that address" else host)
    url = f"http://{ADDRESS}:{demo.port}"
    browser = sign_in(url, ready["users"]["member"]["password"])
    headers = {"Authorization": f"Bearer {ready['users']['member']['token']}"}
    console = browser.get("/api/v1/servers/practice", headers=headers).json()["console"]
    path, session = f"/ws/streams/{console}/", browser.cookies["sessionid"]
    with Socket(url, path, session=session, origin=url) as viewer:
        assert viewer.lines(until=1)
    assert game_of(url, ready) == (ADDRESS, {ADDRESS if host == "that address" else "0.0.0.0"})
    for foreign in ("http://evil.example", f"http://{ADDRESS}.evil.example:{demo.port}", "null", None):
        with pytest.raises(InvalidStatus) as refused:
            Socket(url, path, session=session, origin=foreign)
        assert refused.value.response.status_code == 403, foreign
        assert browser.post("/accounts/logout/", headers={"Origin": foreign or "null"}).status_code == 403, foreign
    assert "plain HTTP" in demo.log.read_text()
    assert url in demo.log.read_text() and "Traceback" not in demo.log.read_text()


def test_unless_told_otherwise_its_game_is_for_this_machine_alone(demo: Demo) -> None:  # noqa: F811
    ready = demo.start()
    assert game_of(ready["url"], ready) == ("127.0.0.1", {"127.0.0.1"})


@pytest.mark.parametrize(
    ("address", "refused"),
    [("8.8.8.8", True), ("2600::1", True), ("192.168.1.2", False), ("127.0.0.1", False), ("fd00::1", False)],
)
def test_a_public_address_has_to_be_asked_for(address: str, refused: bool) -> None:
    reach = Reach(address, ip_address(address), 8000)
    with pytest.raises(ReachError, match="--public") if refused else nullcontext():
        reach.refuse_public()


def test_where_every_name_is_allowed_another_port_is_foreign_too() -> None:
    ours = {b"host": b"Portal.example:8000", b"origin": b"http://portal.example:8000"}
    assert _same_host(ours)
    for origin in (
        b"http://portal.example:8001",
        b"http://portal.example",
        b"portal.example:8000",
        b"null",
        b"",
        b"://",
    ):
        assert not _same_host(ours | {b"origin": origin}), origin
    assert not _same_host({b"host": b"", b"origin": b"http://"})


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("192.0.2.7", 8000, "is no address of this machine"),
        ("no such host", 8000, "neither an address nor a name"),
        ("", 8000, "neither an address nor a name"),
        ("127.0.0.1", 0, "from 1 to 65535"),
        ("127.0.0.1", 99999, "from 1 to 65535"),
    ],
)
def test_what_cannot_be_served_is_told_with_the_way_out(host: str, port: int, told: str) -> None:
    with pytest.raises(ReachError, match=told):
        Reach.of(host, port)


@pytest.mark.parametrize(
    ("connection", "line"),
    [
        ("198.51.100.1 50000 198.51.100.2 22", r"ssh -L {0}:127\.0\.0\.1:{0} \w+@198\.51\.100\.2"),
        ("198.51.100.1 50000 198.51.100.2 2222", r"ssh -p 2222 -L {0}:127\.0\.0\.1:{0} \w+@198\.51\.100\.2"),
        ("2001:db8::1 50000 2001:db8::2 22", r"ssh -L {0}:127\.0\.0\.1:{0} \w+@2001:db8::2"),
    ],
)
def test_over_ssh_it_tells_the_line_that_makes_it_reachable(connection: str, line: str) -> None:
    reach = Reach.of("127.0.0.1", free_port())
    told = reach.ssh({"SSH_CONNECTION": connection})
    assert re.fullmatch("  " + line.format(reach.port), told[1])


@pytest.mark.parametrize("connection", ["", "a b c d", "198.51.100.1 1 198.51.100.2", "1.1.1.1 1 $(reboot) 22"])
def test_without_ssh_it_tells_nothing_of_it(connection: str) -> None:
    assert Reach.of("127.0.0.1", free_port()).ssh({"SSH_CONNECTION": connection}) == []


def test_an_address_of_ipv6_is_written_in_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    reach = Reach.of("[::1]", port := free_port())
    assert reach.url == f"http://[::1]:{port}" and "[::1]" in reach.hosts and not reach.warning()
