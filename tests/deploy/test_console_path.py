"""From a game's output to its stream on a real host: by the server's pipe at once, by the journal whatever happens."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.deploy.installed import Installed
from tests.deploy.talker import RUNTIME, Talker, beside_the_agent
from tests.stack import wait_for

pytestmark = pytest.mark.host
PIPE = "/run/left4me/wake"
# An agent that is woken by pipes alone: no scan, no change of a unit and no wake-up of the journal ends its wait.
BY_PIPES_ALONE = """
from django.conf import settings
from jobs import streams
from servers.agent.watch import Watch
from servers.models import Node, Server
from servers.runtime.journal import JournalError
def no_journal():
    raise JournalError("not for this agent")
Watch.scan_soon = lambda watch: None
watch = Watch(Node.objects.get(slug=settings.NODE), scan_every=1000)
watch.wakes._get_journal = no_journal
name, words = sys.argv[1], json.loads(sys.argv[2])
console = Server.objects.present().get(name=name).console_id
first, limit = time.monotonic() + 2, time.monotonic() + 60
while time.monotonic() < first:
    watch.step()
    watch.wait(0.1)
turns = []
for word in words:
    tell(name, f"print({word!r})")
    count = 0
    while not any(text == word for _, _, text in streams.read(console, after=0, limit=100_000)):
        watch.wait(5)
        watch.step()
        count += 1
        assert time.monotonic() < limit, word
    turns.append(count)
print(json.dumps(turns))
"""
FLOOD = """
flooding = True
def flood():
    pipe = os.open("/run/left4me/wake", os.O_WRONLY)
    while flooding:
        os.write(pipe, b"x" * 4096)
threading.Thread(target=flood, daemon=True).start()
"""
TRY = f"""
def attempt(what, act):
    try:
        act()
    except OSError as error:
        print(what, error.strerror)
    else:
        print(what, "done")
attempt("write", lambda: os.write(os.open("{PIPE}", os.O_WRONLY | os.O_NONBLOCK), b"x"))
attempt("read", lambda: os.open("{PIPE}", os.O_RDONLY | os.O_NONBLOCK))
attempt("both", lambda: os.open("{PIPE}", os.O_RDWR | os.O_NONBLOCK))
attempt("remove", lambda: os.unlink("{PIPE}"))
attempt("rename", lambda: os.rename("{PIPE}", "{PIPE}2"))
attempt("open up", lambda: os.chmod("{PIPE}", 0o666))
print("tried")
"""


class Pair(NamedTuple):
    portal: Installed
    talker: Talker
    listener: Talker


@pytest.fixture(scope="module", params=["portal", "portal12"], ids=["debian13", "debian12"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    portal: Installed = request.getfixturevalue(request.param)
    made = Pair(portal, Talker(portal, "talker"), Talker(portal, "listener"))
    yield made
    for name in ("talker", "listener"):
        portal.power(name, "stop")


def printed(talker: Talker) -> list[str]:
    """What the journal has of a server."""
    return talker.portal.host.journal(
        f"left4me-server@{talker.name}", "--namespace=left4me", lines=1_000_000
    ).splitlines()


def is_whole(talker: Talker) -> bool:
    return talker.lines() == printed(talker)


def turns_by_pipes_alone(pair: Pair, words: list[str]) -> list[int]:
    """How often such an agent turned for each word that the listener printed. Without its pipe it would never end."""
    pair.portal.host.run("systemctl", "stop", "left4me-agent")
    try:
        return list(map(int, json.loads(beside_the_agent(pair.portal, BY_PIPES_ALONE, "listener", json.dumps(words)))))
    finally:
        pair.portal.host.run("systemctl", "start", "left4me-agent")


def test_a_line_is_stored_by_the_pipe_alone(pair: Pair) -> None:
    turns = turns_by_pipes_alone(pair, [f"alone {number}" for number in range(20)])
    assert len(turns) == 20
    wait_for(lambda: is_whole(pair.listener), what="every line once")


def test_a_game_that_floods_its_pipe_delays_no_other(pair: Pair) -> None:
    pair.talker.tell(FLOOD)
    turns = turns_by_pipes_alone(pair, [f"beside a flood {number}" for number in range(20)])
    pair.talker.prints("still heard")
    pair.listener.prints("heard as well")
    pair.talker.tell("flooding = False")
    assert max(turns) < 200
    wait_for(lambda: is_whole(pair.listener) and is_whole(pair.talker), what="every line once")


def test_a_game_may_write_to_its_pipe_and_nothing_else(pair: Pair) -> None:
    facts = pair.portal.host.run("stat", "-c", "%F %U %G %a", f"{RUNTIME}/talker/wake").stdout.strip()
    assert facts == "fifo left4me left4me-game 620"
    before = len(pair.talker.lines())
    pair.talker.tell(TRY)
    wait_for(lambda: pair.talker.lines()[-1] == "tried", what="the end of the game's attempts")
    done = [line for line in pair.talker.lines()[before:] if line.endswith("done")]
    assert done == ["write done"], pair.talker.lines()[before:]


@pytest.mark.parametrize(
    "damage",
    ["rm wake", "rm wake; echo x > wake", "ln -sf /run/left4me/stolen wake", "ln -sf /dev/full wake",
     "rm wake; mkdir wake", "rm wake; mkfifo -m 600 wake", "rm wake; mkfifo -m 666 wake; chown left4me wake"],
    ids=["removed", "a file", "a dead link", "a link to a device", "a folder", "a closed pipe", "another pipe"],
)  # fmt: skip
def test_a_pipe_that_is_gone_or_something_else_costs_no_line(pair: Pair, damage: str) -> None:
    host, folder = pair.portal.host, f"{RUNTIME}/talker"
    pair.talker.tell("for n in range(300): print('while it goes', n); time.sleep(0.005)")
    host.sh(f"cd {folder} && {damage}")
    pair.listener.prints("not my pipe")
    pair.talker.prints("afterwards")
    wait_for(lambda: is_whole(pair.listener) and is_whole(pair.talker), what="every line once")
    pair.talker.restart()
    assert host.run("stat", "-c", "%F %U %a", f"{folder}/wake").stdout.strip() == "fifo left4me 620"
    pair.talker.prints("with a pipe again")


def test_a_game_without_a_pipe_is_heard_by_the_journal(pair: Pair) -> None:
    """As one that an older release started."""
    unit = "left4me-server@talker"
    pair.talker.restart(lambda: pair.portal.host.sh(f"rm {RUNTIME}/talker/wake; systemctl restart {unit}"))
    pair.talker.prints("an older release's")
    wait_for(lambda: is_whole(pair.talker), what="every line once")
    pair.talker.restart()


def test_an_agent_that_is_killed_in_the_middle_stores_every_line_once(pair: Pair) -> None:
    host, lines = pair.portal.host, [f"numbered {n}" for n in range(2000)]
    pair.talker.tell("for n in range(2000): print('numbered', n); time.sleep(0.002)")
    for reached in (100, 700, 1300):
        wait_for(lambda reached=reached: f"numbered {reached}" in pair.talker.lines(), what=f"line {reached}")
        host.run("systemctl", "kill", "-s", "KILL", "left4me-agent")
        wait_for(lambda: host.run("systemctl", "is-active", "left4me-agent", check=False).returncode == 0, what="it")
    wait_for(lambda: "numbered 1999" in pair.talker.lines(), what="the last line")
    assert [line for line in pair.talker.lines() if line.startswith("numbered")] == lines
    wait_for(lambda: is_whole(pair.talker), what="every line once")
