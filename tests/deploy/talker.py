"""A server on an installed host that prints what it is told to, for what is tested or measured of consoles."""

import json
import time
from collections.abc import Callable

from tests.deploy.installed import Installed
from tests.stack import wait_for

RUNTIME = "/var/lib/left4me/runtime"
# Runs each line of the file `orders` in its tree: a program, as JSON. Takes the place of the practice game's own.
GAME = """
import json, os, signal, sys, threading, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit())
orders = open("orders", "w+")
print("listening")
while True:
    if order := orders.readline():
        exec(json.loads(order), globals())
    else:
        time.sleep(0.005)
"""
# What a program below starts with; it runs beside the agent's own, as that does.
DJANGO = """
import json, os, sys, time
sys.path.insert(0, os.getcwd())
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
import django
django.setup()
def tell(name, program):
    with open(f"/var/lib/left4me/runtime/{name}/merged/orders", "a") as orders:
        orders.write(json.dumps(program) + "\\n")
"""


def replace_game(portal: Installed, name: str, program: str) -> None:
    """Have a practice server that is yet to be made run this in place of the practice game."""
    place = f"{RUNTIME}/{name}/upper/practice"
    portal.host.run("sh", "-c", f"mkdir -p {place} && cat > {place}/__main__.py", user="left4me", text=program)


class Talker:
    """A running server of that name; `tell` it what to do."""

    def __init__(self, portal: Installed, name: str) -> None:
        self.portal, self.name = portal, name
        replace_game(portal, name, GAME)
        portal.make(name)
        self.console = int(portal.server(name)["console"])
        wait_for(lambda: "listening" in self.lines(), what=f"{name} listening")

    def restart(self, restart: Callable[[], object] | None = None) -> None:
        """By the portal, or as given; returns once it can be told something again."""
        before = self.lines().count("listening")
        (restart or (lambda: self.portal.power(self.name, "restart")))()
        wait_for(lambda: self.lines().count("listening") > before, what=f"{self.name} listening again")

    def tell(self, program: str) -> None:
        self.portal.host.run("sh", "-c", f"cat >> {RUNTIME}/{self.name}/merged/orders", text=json.dumps(program) + "\n")

    def lines(self) -> list[str]:
        """What the portal has of its console."""
        return self.portal.lines(self.console)

    def prints(self, *lines: str) -> None:
        """Have it print these, and see that the portal gets them, in order and once."""
        self.tell("".join(f"print({line!r})\n" for line in lines))
        wait_for(
            lambda: self.lines()[-len(lines) :] == list(lines), what=f"{lines[-1]!r} in the console of {self.name}"
        )


def beside_the_agent(portal: Installed, program: str, *arguments: str, seconds: float = 120) -> str:
    """What a program of the portal's own prints that may do what the agent may."""
    properties = {
        "User": "left4me",
        "SupplementaryGroups": "left4me-journal",
        "EnvironmentFile": "/etc/left4me/left4me.env",
        "WorkingDirectory": "/opt/left4me/current",
    }
    given = [part for name, value in properties.items() for part in ("-p", f"{name}={value}")]
    python = ("/opt/left4me/current/.venv/bin/python", "-c", DJANGO + program, *arguments)
    run = ("systemd-run", "-q", "--pipe", "--wait", "--collect", *given, *python)
    return portal.host.run(*run, timeout=seconds).stdout


def agent_cpu(portal: Installed, seconds: float) -> float:
    """Cores that the agent uses."""
    agent = portal.host.show("left4me-agent", "MainPID")["MainPID"]

    def used() -> float:
        fields = portal.host.run("cat", f"/proc/{agent}/stat").stdout.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100  # of USER_HZ

    began, before = time.monotonic(), used()
    time.sleep(seconds)
    return (used() - before) / (time.monotonic() - began)
