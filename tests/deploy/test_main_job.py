"""The main job on a real host: installed by the installer, a member plays OpenArena, on Debian 13 and 12."""

import asyncio
import json

import pytest
import websockets

from tests.deploy.installed import Installed
from tests.gamedig import gamedig
from tests.stack import wait_for

pytestmark = [pytest.mark.host, pytest.mark.games]
NAME = "arena"


async def watch(portal: Installed, stream: int, enough: int) -> list[str]:
    """The first `enough` lines of a stream, as the browser's socket gets them, through the proxy."""
    address = f"{portal.site.replace('http', 'ws')}/ws/streams/{stream}/?after=0"
    async with websockets.connect(address, additional_headers={"Authorization": f"Bearer {portal.token}"}) as socket:
        lines: list[str] = []
        async with asyncio.timeout(20):
            while len(lines) < enough:
                frame = json.loads(await socket.recv())
                lines += [text for _, _, text in frame.get("lines", [])]
        return lines


@pytest.mark.parametrize("installation", ["portal", "portal12"], ids=["debian13", "debian12"])
async def test_a_member_starts_a_game_and_watches_it(installation: str, request: pytest.FixtureRequest) -> None:
    portal: Installed = request.getfixturevalue(installation)
    portal.api("POST", "/servers", name=NAME, blueprint="openarena")
    job = portal.power(NAME, "start", seconds=500)
    assert any("Running after" in line for line in job["lines"])
    server = portal.shows(NAME, "running")

    host, _, port = server["address"].rpartition(":")
    seen = wait_for(
        lambda: (answer := gamedig("openarena", host, int(port))).get("map") and answer, seconds=30, what="gamedig"
    )
    assert int(seen["maxplayers"]) > 0
    shown = wait_for(lambda: (found := portal.server(NAME)["query"]) and found.get("ok") and found, seconds=15)
    assert shown["map"] == seen["map"]

    lines = await watch(portal, server["console"], enough=20)
    assert any("Opening IP socket" in line or "gamename" in line or "Server Initialization" in line for line in lines)
    assert portal.lines(server["console"])[: len(lines)] == lines

    doctor = json.loads(portal.host.run("left4me", "doctor", "--json").stdout)
    [mount] = [check for check in doctor["checks"] if check["name"] == f"mount of {NAME}"]
    assert doctor["ok"]
    assert mount["state"] == "ok"

    portal.power(NAME, "stop")
    portal.shows(NAME, "stopped")
    assert NAME not in portal.mounted()
