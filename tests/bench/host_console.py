"""A real host's consoles, for `tests.bench.host`: from a game's print to the wake-up of viewers, and what it costs."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, latencies
from tests.bench.scale import scaled
from tests.deploy.host import Host

if TYPE_CHECKING:
    from tests.deploy.installed import Installed

SECONDS, IDLE_AFTER, IDLE_SECONDS = scaled((10, 12, 15), (2, 0, 1))
SERVERS, LINES = scaled((20, 500), (2, 50))
GAME = """
for batch in range({lines} // 10):
    for number in range(10):
        print(time.monotonic_ns(), "Player", number, "picked up a first aid kit near the safe room")
    time.sleep(0.2)
"""
SILENT = "import time\ntime.sleep(100_000)\n"
# Prints the milliseconds from a line's print to the wake-up that tells of it, of each line that begins with a time.
STORED = """
import psycopg
from django.db import connection
from jobs import streams
name, program, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
from servers.models import Server
console = Server.objects.present().select_related("console").get(name=name).console
delays, after, limit = [], console.last_seq, time.monotonic() + 60
with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
    session.execute(f"LISTEN {streams.CHANNEL}")
    tell(name, program)
    while len(delays) < lines and time.monotonic() < limit:
        for _ in session.notifies(timeout=1, stop_after=1):
            now = time.monotonic_ns()
            for after, _, text in streams.read(console.pk, after=after, limit=10_000):
                delays.append((now - int(text.partition(" ")[0])) / 1e6)
print(json.dumps(delays))
"""


def console_figures() -> Iterator[Figure]:
    """On a Debian 13 of its own, where the installer was run."""
    from tests.deploy.installed import Installed  # needs Django set up
    from tests.deploy.talker import Talker, beside_the_agent

    with Host("trixie") as host:
        portal = Installed(host)
        portal.install()
        portal.sign_in()
        idle = _idle_cpu(portal)
        talker = Talker(portal, "talker")
        told = GAME.format(lines=LINES)
        delays = json.loads(beside_the_agent(portal, STORED, talker.name, told, str(LINES)))
    yield Figure(f"host.console.agent_idle_cpu_{SERVERS}_servers", idle * 100, "%_of_a_core")
    yield from latencies("host.console.print_to_stored", delays, p50=15, p99=60)
    yield Figure("host.console.missing", LINES - len(delays), "lines", 0)


def _idle_cpu(portal: "Installed") -> float:
    """Cores that an agent uses whose servers run and say nothing."""
    from tests.deploy.talker import agent_cpu, replace_game

    def start(name: str) -> None:
        replace_game(portal, name, SILENT)
        portal.make(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, [f"silent{number}" for number in range(SERVERS)]))
    time.sleep(IDLE_AFTER)
    return agent_cpu(portal, IDLE_SECONDS)
