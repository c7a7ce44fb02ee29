"""What games write on a real host, where they are other users than the agent that measures it."""

import pytest

from tests.deploy.installed import Installed
from tests.deploy.talker import Talker
from tests.stack import wait_for

pytestmark = pytest.mark.host
MIB = 1 << 20
# Files as games make them: closed to others, in folders closed to others.
WRITE = """
os.umask(0o077)
os.makedirs("saves/deep", exist_ok=True)
for number in range(8):
    with open(f"saves/deep/{number}", "wb") as file:
        file.write(os.urandom(1 << 20))
print("written")
"""


@pytest.mark.parametrize("debian", ["portal", "portal12"])
def test_what_a_game_writes_is_measured(request: pytest.FixtureRequest, debian: str) -> None:
    portal: Installed = request.getfixturevalue(debian)
    game = Talker(portal, "writer")
    game.tell(WRITE)
    wait_for(lambda: "written" in game.lines(), what="the files")
    disk = wait_for(
        lambda: (shown := portal.server("writer")["disk"])["bytes"] >= 8 * MIB and shown,
        seconds=120, what="the files being counted",
    )  # fmt: skip
    assert disk["bytes"] < 16 * MIB
    portal.power("writer", "stop")
